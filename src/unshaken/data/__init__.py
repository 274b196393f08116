"""Data sets in memory, splits that a seed decides, and batches that need no state."""

from .dataset import Dataset
from .errors import DataError
from .normalization import Standardization
from .raw import NORMALIZATIONS
from .sources import NAMES, load
from .splits import Split, split
from .streams import Stream
from .whitening import Whitening

__all__ = [
    "NAMES",
    "NORMALIZATIONS",
    "DataError",
    "Dataset",
    "Split",
    "Standardization",
    "Stream",
    "Whitening",
    "load",
    "split",
]
