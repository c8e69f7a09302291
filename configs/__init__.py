"""The values of runs: plain ml_collections configs, one file a recipe."""
