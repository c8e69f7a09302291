"""Which channels stay when a network becomes narrower, and its weights then."""
