"""The tasks by kind of model. Models are imported when a task first runs."""
