"""A phone's browser."""
