"""Weights from elsewhere: what a SOURCE of --init holds, under the names of our layers.

Nothing in here executes what a file brings: no unpickling, no Keras deserialisation, no graph.
"""
