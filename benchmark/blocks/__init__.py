"""What the parts of a network take."""
