"""Random numbers that depend on names and integers only, never on the process or the platform."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

__all__ = ["hash_order", "numpy_generator", "seed_of", "torch_generator"]


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from names and integers.

    Python's own ``hash`` of a string differs between processes; BLAKE2 does not.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def torch_generator(*parts: int | str) -> torch.Generator:
    """A CPU generator of its own, seeded by :func:`seed_of`; the global state is not touched."""
    return torch.Generator().manual_seed(seed_of(*parts))


def numpy_generator(*parts: int | str) -> np.random.Generator:
    """NumPy's generator, seeded by :func:`seed_of`.

    Used to draw real numbers: its normal deviates are the same on every processor, while
    PyTorch's depend on the vector instructions at hand.
    """
    return np.random.Generator(np.random.PCG64(seed_of(*parts)))


def hash_order(names: list[str], salt: str) -> list[int]:
    """Positions of ``names`` in the order of their hashes: a shuffle that nothing can move.

    It depends on no random generator, so it is the same for every seed and library version, and
    adding a name leaves the order of the others as it was.
    """
    return sorted(range(len(names)), key=lambda i: (seed_of(salt, names[i]), names[i]))
