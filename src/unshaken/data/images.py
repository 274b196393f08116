"""From encoded pictures (PNG, JPEG, ...) to arrays of bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .errors import DataError, reading
from .extras import require
from .raw import Array

__all__ = ["JPEG", "SUFFIXES", "decode"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"})
"""Endings of the files that a folder of images may hold."""

JPEG = "pictures are JPEG (lossy)"
"""Noted wherever a picture is."""

_GRAY, _COLOR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def decode(pictures: Iterable[tuple[str, Path | bytes]]) -> tuple[Array, set[str]]:
    """Pictures of one size as bytes, gray if all of them are, else in color.

    An alpha channel is dropped.

    Args:
        pictures: a title for messages, and the file or its bytes, of each.

    Returns:
        ``(N, 1, H, W)`` or ``(N, 3, H, W)`` of uint8, and the formats met ("PNG", "JPEG", ...).

    Raises:
        DataError: a picture is damaged, has more than 8 bits, or another size than the first.
        ImportError: pillow is missing.
    """
    pillow = require("PIL.Image", "reading pictures")
    images: list[Array] = []
    formats = set()
    for title, content in pictures:
        with reading(title, "a picture"):
            source = io.BytesIO(content) if isinstance(content, bytes) else content
            with pillow.open(source) as picture:
                if picture.mode not in _GRAY + _COLOR:
                    raise DataError(
                        f"{title}: expected a picture of 8 bits, got the mode {picture.mode!r}"
                    )
                formats.add(str(picture.format))
                image = np.asarray(picture.convert("L" if picture.mode in _GRAY else "RGB"))
        if images and image.shape[:2] != images[0].shape[:2]:
            raise DataError(
                f"{title}: expected a picture of {_size(images[0])} like the first, got "
                f"{_size(image)}"
            )
        images.append(image)
    if not images:
        raise DataError("pictures: expected at least one, got none")
    if any(image.ndim == 3 for image in images):
        color = [np.stack([i] * 3, -1) if i.ndim == 2 else i for i in images]
        return np.ascontiguousarray(np.stack(color).transpose(0, 3, 1, 2)), formats
    return np.stack(images)[:, None], formats


def _size(image: Array) -> str:
    return f"{image.shape[1]} x {image.shape[0]} pixels"
