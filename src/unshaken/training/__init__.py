"""Training that lasts: the loop, checkpoints that survive, schedules and logs."""

from .checkpoint import CheckpointError, latest, read_checkpoint, write_checkpoint
from .config import TrainingConfig
from .interruption import Interrupted
from .logs import JsonLines, Logger, TensorBoardLogger
from .loop import Result, train
from .meter import NonFiniteError
from .progress import Progress, progress_for
from .weights import load_model_weights, save_model_weights

__all__ = [
    "CheckpointError",
    "Interrupted",
    "JsonLines",
    "Logger",
    "NonFiniteError",
    "Progress",
    "Result",
    "TensorBoardLogger",
    "TrainingConfig",
    "latest",
    "load_model_weights",
    "progress_for",
    "read_checkpoint",
    "save_model_weights",
    "train",
    "write_checkpoint",
]
