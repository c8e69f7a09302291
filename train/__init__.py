"""From images to checkpoints."""
