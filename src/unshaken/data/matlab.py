"""Arrays of numbers from MATLAB files of version 5 to 7, compressed or not.

SciPy's reader ends the whole process on some damaged files (a segmentation fault in its compiled
part), so the little that is needed of the format is read here, each length checked before use.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .errors import DataError, reading
from .raw import Array

__all__ = ["read_matlab"]

# Data types of elements: MATLAB may store an array of doubles as the smallest type that fits.
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_MATRIX, _COMPRESSED = 14, 15
_NUMERIC_CLASSES = range(6, 16)
_COMPLEX = 0x0800


def read_matlab(path: Path, names: tuple[str, ...]) -> list[Array]:
    """The arrays called ``names``, in that order, each in MATLAB's own axes.

    Only arrays of real numbers are read; others in the file are passed over.

    Raises:
        DataError: the file is missing or damaged, or lacks one of the arrays.
    """
    found = {}
    with reading(path, f"a MATLAB file with {' and '.join(names)}"):
        content = memoryview(path.read_bytes())
        order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
        if order is None:
            raise DataError(f"{path}: expected a MATLAB file of version 5 to 7, got another format")
        for kind, body in _elements(content[128:], order):
            if kind == _COMPRESSED:
                kind, body = _unpacked(body, order)
            variable = _variable(body, order) if kind == _MATRIX else None
            if variable is not None:
                found[variable[0]] = variable[1]
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"{path}: expected the arrays {' and '.join(names)}, got no {missing[0]} among "
            f"{', '.join(found) or 'none'}"
        )
    return [found[name] for name in names]


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The elements one after another: a type, a length, that many bytes, padded to eight."""
    at = 0
    while at < len(content):
        kind, length = struct.unpack_from(f"{order}II", content, at)
        start, padding = at + 8, -length % 8
        if kind >> 16:
            # At most four bytes stand in the tag itself, their number in its upper half.
            kind, length, start, padding = kind & 0xFFFF, kind >> 16, at + 4, 0
            if length > 4:
                raise ValueError(f"an element of {length} bytes in a tag of 4")
            at += 8
        else:
            at = start + length + (0 if kind == _COMPRESSED else padding)
        if start + length > len(content):
            raise EOFError(f"an element of {length} bytes, {len(content) - start} left")
        yield kind, content[start : start + length]


def _unpacked(body: memoryview, order: str) -> tuple[int, memoryview]:
    """The one element in a compressed one; no more is unpacked than its tag announces."""
    packed = zlib.decompressobj()
    tag = packed.decompress(body, 8)
    kind, length = struct.unpack(f"{order}II", tag)
    rest = packed.decompress(packed.unconsumed_tail, length) if length else b""
    if len(rest) < length:
        raise EOFError(f"{length} bytes announced, {len(rest)} unpacked")
    # The checksum at the end is verified when the end is reached.
    if packed.decompress(packed.unconsumed_tail, 1) or not packed.eof:
        raise EOFError("the packed bytes do not end where they should")
    return kind, memoryview(rest)


def _variable(body: memoryview, order: str) -> tuple[str, Array] | None:
    """Name and values of an array of real numbers; None for anything else."""
    parts = list(_elements(body, order))
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    if flags & 0xFF not in _NUMERIC_CLASSES or flags & _COMPLEX:
        return None
    sizes = np.frombuffer(parts[1][1], f"{order}i4").tolist()
    name = bytes(parts[2][1]).decode("ascii")
    kind, data = parts[3]
    values = np.frombuffer(data, np.dtype(order + _NUMBERS[kind]))
    if min(sizes) < 0 or len(values) != math.prod(sizes):
        raise ValueError(f"{len(values)} values for an array of sizes {sizes}")
    return name, values.reshape(sizes, order="F").astype(values.dtype.newbyteorder("="))
