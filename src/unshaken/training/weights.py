"""The trained weights as a file, and back from whatever a run left."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.statistics import to_bytes
from .atomic import replace_bytes
from .checkpoint import CheckpointError, has_checksum, latest, load_plain, read_checkpoint, writing

__all__ = ["load_model_weights", "save_model_weights"]

_CHECKSUM = "unshaken-sha256"
_SIGNED = {"format": "pt", "writer": "unshaken"}


def save_model_weights(model: nn.Module, path: Path) -> None:
    """Write the model's state (parameters and buffers) as safetensors with a checksum.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written.
    """
    # Copies: tied weights share memory, which the format does not allow.
    tensors = {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor)
    }
    content = to_bytes(tensors, {**_SIGNED, _CHECKSUM: _digest(tensors)})
    with writing(path, "the newest checkpoint holds the weights too"):
        replace_bytes(path, content)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_model_weights(path: Path | str) -> dict[str, Tensor]:
    """The state dict of a trained model, on the CPU; nothing in the file is executed.

    Args:
        path: a run's folder (``model.safetensors``, or else its newest whole checkpoint), a
            checkpoint (the averaged weights where the run kept an average), a safetensors file,
            or a state dict that ``torch.save`` wrote, by itself or under ``state_dict``,
            ``model_state_dict`` or ``model``.

    Raises:
        CheckpointError: there is nothing of the kind, it is damaged, or it holds more than
            tensors and plain values.
    """
    path = Path(path)
    if path.is_dir():
        return _from_folder(path)
    if not path.exists():
        raise CheckpointError(f"there is no file or folder {path}")
    if path.suffix == ".safetensors":
        return _from_safetensors(path)
    return _from_pickle(path)


def _from_folder(folder: Path) -> dict[str, Tensor]:
    exported = folder / "model.safetensors"
    if exported.exists():
        return _from_safetensors(exported)
    inner = folder / "checkpoints"
    found = latest(inner if inner.is_dir() else folder)
    if found is None:
        raise CheckpointError(f"{folder} holds neither model.safetensors nor a checkpoint")
    return _of_model(*found)


def _from_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except Exception as error:
        # The reader's own error type is not an OSError, and damaged bytes raise others too.
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from error
    # Either mark says that this package wrote the file; a damaged byte can hide only one.
    ours = _CHECKSUM in metadata or metadata.get("writer") == _SIGNED["writer"]
    if ours and metadata != {**_SIGNED, _CHECKSUM: _digest(tensors)}:
        raise CheckpointError(f"{path} is damaged: its tensors do not match its checksum")
    return tensors


def _from_pickle(path: Path) -> dict[str, Tensor]:
    with open(path, "rb") as file:
        if has_checksum(file):
            return _of_model(path, read_checkpoint(path))
        file.seek(0)
        content = load_plain(path, file)
    if isinstance(content, dict) and content.get("format") == "unshaken checkpoint 1":
        raise CheckpointError(f"{path} is damaged: its checksum is missing")
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(map(_is_entry, content.items())):
        raise CheckpointError(
            f"{path} holds neither a checkpoint nor a state dict of tensors by name"
        )
    return dict(content)


def _is_entry(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _of_model(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    averaged = content.get("average")
    if averaged is not None and not int(averaged.get("n_averaged", 1)):
        averaged = None  # nothing is in the average yet
    state = content.get("objective") if averaged is None else averaged
    prefix = "model." if averaged is None else "module."
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is no checkpoint of a run: it holds no weights")
    return {
        name[len(prefix) :]: value
        for name, value in state.items()
        if name.startswith(prefix) and isinstance(value, Tensor)
    }
