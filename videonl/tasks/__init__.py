"""What a label is: its loss, the probabilities that logits stand for, and the metrics of an evaluation."""

from videonl.registry import Registry
from videonl.tasks.multi_label import MultiLabel
from videonl.tasks.single_label import SingleLabel
from videonl.tasks.task import Task

TASKS: Registry[type[Task]] = Registry("task", {"single_label": SingleLabel, "multi_label": MultiLabel})
"""Tasks by the name that configurations use."""

__all__ = ["TASKS", "MultiLabel", "SingleLabel", "Task"]
