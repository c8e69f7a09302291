"""Algorithms: what to try next. They know neither each other nor where trials are trained."""
