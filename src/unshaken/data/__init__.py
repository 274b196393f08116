"""Data sets in memory, splits that a seed decides, and batches that need no state."""

from .arrays import write_arrays
from .augmentation import Augmentation, augment
from .dataset import Dataset
from .errors import DataError
from .kept import read_normalization
from .normalization import Standardization
from .pools import Pool
from .raw import NORMALIZATIONS
from .sources import NAMES, default_root, load
from .splits import Split, split
from .streams import Stream
from .whitening import Whitening

__all__ = [
    "NAMES",
    "NORMALIZATIONS",
    "Augmentation",
    "DataError",
    "Dataset",
    "Pool",
    "Split",
    "Standardization",
    "Stream",
    "Whitening",
    "augment",
    "default_root",
    "load",
    "read_normalization",
    "split",
    "write_arrays",
]
