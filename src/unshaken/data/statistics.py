"""Files of named tensors (safetensors), written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, uint8

from .errors import DataError, reading

__all__ = ["kind_of", "read_tensors", "save_tensors", "to_bytes", "write_whole"]


def write_whole(path: Path | str, content: bytes) -> None:
    """Write a file so that a reader finds the old one or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file, the same bytes for the same content.

    The library writes metadata in an order that changes from one process to the next.
    """
    content = save(dict(tensors), dict(metadata))
    length = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    # Padded to whole words, as the format asks for, so that tensors stay aligned.
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[length:]


def save_tensors(
    path: Path | str, kind: str, tensors: Mapping[str, Tensor], **metadata: str
) -> None:
    """Write ``tensors`` with a tag that says what they are, and a checksum."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    described = {"kind": f"unshaken.{kind}", **metadata}
    write_whole(path, to_bytes(content, {**described, "sha256": _digest(content, described)}))


def read_tensors(
    path: Path | str, kind: str, names: tuple[str, ...]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors called ``names`` and the metadata of a file that :func:`save_tensors` wrote.

    Raises:
        DataError: the file is missing, damaged, of another kind, or lacks a name.
    """
    with reading(path, f"a safetensors file of a {kind}"), safe_open(path, framework="pt") as file:
        metadata: dict[str, str] = file.metadata() or {}
        found = set(file.keys())
        if metadata.get("kind") != f"unshaken.{kind}" or not found.issuperset(names):
            raise DataError(
                f"{path}: expected a {kind} with {', '.join(names)}, got "
                f"{metadata.get('kind', 'no kind')} with {', '.join(sorted(found)) or 'nothing'}"
            )
        tensors = {name: file.get_tensor(name) for name in found}
    if metadata.pop("sha256", None) != _digest(tensors, metadata):
        raise DataError(f"{path} is damaged: its tensors do not match its checksum")
    return tensors, metadata


def kind_of(path: Path | str) -> str:
    """What a file that :func:`save_tensors` wrote says it holds; empty where it says nothing.

    Raises:
        DataError: the file is missing or damaged.
    """
    with reading(path, "a safetensors file"), safe_open(path, framework="pt") as file:
        metadata: dict[str, str] = file.metadata() or {}
    return metadata.get("kind", "").removeprefix("unshaken.")


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(uint8).numpy().tobytes())
    return digest.hexdigest()
