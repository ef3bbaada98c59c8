"""What a label is: its loss, the probabilities that logits stand for, and the metrics of an evaluation."""

from videonl.registry import Registry
from videonl.tasks.single_label import SingleLabel
from videonl.tasks.task import Task

TASKS: Registry[type[Task]] = Registry("task", {"single_label": SingleLabel})
"""Tasks by the name that configurations use."""

__all__ = ["TASKS", "SingleLabel", "Task"]
