"""Objectives of one method, each with a network of its own, as one objective."""

from unshaken.stacking.alarm import StackedAlarm
from unshaken.stacking.objectives import stack_objectives, unstack_objectives

__all__ = ["StackedAlarm", "stack_objectives", "unstack_objectives"]
