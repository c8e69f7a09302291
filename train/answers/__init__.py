"""What people see of a model's answers: tables, captions, pictures and reports of each task."""

from train.answers import classification

# What a task's answers look like, by the task's name in a config.
ANSWERS = {'classification': classification}
