"""What PyTorch may use for a layer while passes over a model are compared or derived twice.

PyTorch keeps these switches for the whole process. Several threads may be inside at once: a switch
goes back when the last of them has left.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch._compile import _disable_dynamo

Result = TypeVar("Result")


class Switch:
    """A state of the process that is entered by the first of several threads.

    Args:
        turn: makes the state and returns what takes it back.
    """

    def __init__(self, turn: Callable[[], Callable[[], None]]) -> None:
        self._turn = turn
        self._lock = threading.Lock()
        self._inside = 0
        self._back: Callable[[], None] = lambda: None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._back = self._turn()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._back()


def _only_math() -> Callable[[], None]:
    kernels = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    kernels.__enter__()

    def back() -> None:
        kernels.__exit__(None, None, None)

    return back


def _no_fast_path() -> Callable[[], None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)

    def back() -> None:
        torch.backends.mha.set_fastpath_enabled(before)

    return back


def _force_eager() -> Callable[[], None]:
    stance: Any = torch.compiler.set_stance("force_eager")
    stance.__enter__()

    def back() -> None:
        stance.__exit__(None, None, None)

    return back


_MATH = Switch(_only_math)
_SLOW = Switch(_no_fast_path)
_EAGER = Switch(_force_eager)


def differentiable_attention() -> AbstractContextManager[Any]:
    """Attention through the one kernel that can be differentiated twice, and forward."""
    return nullcontext() if torch.compiler.is_compiling() else _MATH()


def comparable_attention() -> AbstractContextManager[Any]:
    """Transformer layers as they are with a graph, whose fused path gives padding other values."""
    return nullcontext() if torch.compiler.is_compiling() else _SLOW()


def uncompiled() -> AbstractContextManager[Any]:
    """Compiled parts of a model as they were before, also where nothing shows from outside.

    Compiled code has no second derivative and no forward mode, and frees what a backward used.
    """
    if "torch._dynamo" not in sys.modules or torch.compiler.is_compiling():
        return nullcontext()
    return _EAGER()


@_disable_dynamo
def as_it_is(function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Call a function outside of the compiled code that the call stands in.

    What tells passes apart there, as the random state between them, is not what is traced.
    """
    return function(*args, **kwargs)
