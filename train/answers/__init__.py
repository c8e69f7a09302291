"""What people see of a model's answers: tables, captions, pictures and reports of each task."""

from train.answers import classification, detection, segmentation

# What a task's answers look like, by the task's name in a config.
ANSWERS = {
    'classification': classification,
    'detection': detection,
    'segmentation': segmentation,
}
