"""Networks that are trained for a while: one by one, in several processes, or on Ray."""
