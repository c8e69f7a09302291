"""Search for networks (Paper: §4): NetAdapt, and the NAS controller beside its baselines."""
