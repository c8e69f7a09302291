"""From checkpoints to .tflite files and their cards."""
