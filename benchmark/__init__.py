"""Measures .tflite files by the paper's protocol, on this host and later on phones."""
