"""Which gradients a backward pass is asked for, told to the layers that take part in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Session:
    """Shared by the layers of one forward pass.

    Autograd tells a layer written in Python only which of its arguments have gradients at all, not
    which ones a call of ``autograd.grad`` is asked for: without this, the pass that wants the
    gradient in the input would compute every weight's too.
    """

    def __init__(self) -> None:
        self.input_only = False

    @contextmanager
    def gradient_in_input(self) -> Iterator[None]:
        """Inside, backward passes leave out the gradients of weights."""
        self.input_only = True
        try:
            yield
        finally:
            self.input_only = False
