"""What a network takes, by its spec: from a table of parts, measured, or as multiply-adds."""
