"""What is trained: the data, loss and metrics of each task."""

from train.tasks.classification import Classification

# Every task by its name in a config.
TASKS = {'classification': Classification}
