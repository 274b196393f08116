"""Looking at one layer of somebody else's network while it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy

from torch import Tensor, nn

from unshaken.passes import CleanPass, Model

Change = Callable[[Tensor], Tensor]


def layer_of(model: Model, name: str) -> nn.Module:
    """The layer of that name, or the last linear layer for an empty name.

    Raises:
        TypeError: the model is no module.
        ValueError: there is no such layer.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module with layers, got {type(model).__name__}")
    layers = dict(model.named_modules())
    if name:
        if name not in layers:
            raise ValueError(
                f"layer must be one of {', '.join(filter(None, layers))}; got {name!r}"
            )
        return layers[name]
    linear = [m for m in layers.values() if isinstance(m, nn.Linear)]
    if not linear:
        raise ValueError("layer must be named where the model has no torch.nn.Linear")
    return linear[-1]


def own_pass(clean: CleanPass) -> CleanPass:
    """The same batch, whose next pass draws numbers of its own; later ones draw those again.

    For noise that is drawn inside the network: the passes of the clean pass itself repeat its
    draws and then go on where the caller was, so noise drawn in them would never change.
    """
    other = copy(clean)
    other.forget()
    other.state = None
    return other


@contextmanager
def changed_input(layer: nn.Module, change: Change) -> Iterator[None]:
    """Inside, the layer gets ``change(h)`` in place of its input h."""

    def hook(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (change(given[0]), *given[1:])

    handle = layer.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def seen_input(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, the layer's inputs are appended to the list."""
    seen: list[Tensor] = []

    def keep(h: Tensor) -> Tensor:
        seen.append(h)
        return h

    with changed_input(layer, keep):
        yield seen
