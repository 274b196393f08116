"""How much arithmetic a step does, in passes over the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class _Flops(TorchDispatchMode):
    """Adds up the products of convolutions and matrices below autograd, whoever asks for them.

    Torch's own counting mode follows the modules by hooks, which fail where gradients are taken
    inside a step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.total += count(*args, **kwargs, out_val=out)
        return out


def flops(work: Callable[[], object]) -> int:
    """Multiplications and additions of all convolutions and matrix products in ``work``.

    Double backward included. Divided by those of one forward pass it is the number of passes: 1
    for each forward, input-gradient or weight-gradient pass. A plain step has a little less than
    3, since the first layer needs no gradient in its input.
    """
    with _Flops() as mode:
        work()
    return mode.total
