"""Fetch published files from their publishers, checked before they take their place."""

from __future__ import annotations

import gzip
import os
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .checksums import CIFAR, MNIST, SVHN, check_md5, md5_of_file
from .errors import reading

__all__ = ["FILES", "Remote", "fetch"]


@dataclass(frozen=True)
class Remote:
    """A published file: its address, its MD5, and whether that is of the decompressed content."""

    url: str
    md5: str
    decompressed: bool = False


FILES: dict[str, list[Remote]] = {
    "mnist": [
        Remote(f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz", md5, decompressed=True)
        for name, md5 in MNIST.items()
    ],
    # The publisher serves SVHN without TLS only; the checksum tells whether it arrived as it is.
    "svhn": [
        Remote(f"http://ufldl.stanford.edu/housenumbers/{name}", md5) for name, md5 in SVHN.items()
    ],
    "cifar10": [
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            CIFAR["cifar-10-python.tar.gz"],
        )
    ],
    "cifar100": [
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            CIFAR["cifar-100-python.tar.gz"],
        )
    ],
}
"""What ``load(name, download=True)`` fetches."""


def fetch(name: str, folder: Path, *, timeout: float = 60.0) -> None:
    """Fetch the files of a data set that ``folder`` lacks, with a progress bar on stderr.

    A file is written beside its place, checked against its published MD5 and only then renamed:
    an interrupted download leaves nothing that could be taken for the data.

    Args:
        name: a key of :data:`FILES`.
        folder: where the files go; made if need be.
        timeout: seconds without an answer after which it gives up.

    Raises:
        DataError: a file cannot be had, or is not the published one.
    """
    with reading(folder, "a folder to write to"):
        folder.mkdir(parents=True, exist_ok=True)
    for remote in FILES[name]:
        place = folder / remote.url.rsplit("/", 1)[1]
        if not place.exists():
            _fetch(remote, place, timeout)


def _fetch(remote: Remote, place: Path, timeout: float) -> None:
    handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with reading(remote.url, "a file to download"), os.fdopen(handle, "wb") as file:
            _copy(remote.url, file.fileno(), place.name, timeout)
            os.fsync(file.fileno())
        if remote.decompressed:
            with reading(remote.url, "a gzip file"), gzip.open(temporary, "rb") as packed:
                check_md5(remote.url, packed.read(), remote.md5)
        else:
            md5_of_file(Path(temporary), remote.md5, remote.url)
        os.chmod(temporary, 0o644)  # a temporary file is for its owner only
        os.replace(temporary, place)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _copy(url: str, target: int, words: str, timeout: float) -> None:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(words), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with (
        urllib.request.urlopen(url, timeout=timeout) as answer,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        length = answer.headers.get("Content-Length")
        bar = progress.add_task(words, total=float(length) if length else None)
        while piece := answer.read(1 << 18):
            os.write(target, piece)
            progress.update(bar, advance=len(piece))
