"""Whose mistake an exception is: the user's, who needs one sentence, or ours, which must show."""

from __future__ import annotations

import dis
from types import TracebackType

from unshaken.training import CheckpointError, NonFiniteError

_RAISE = dis.opmap["RAISE_VARARGS"]


def is_mistake(error: BaseException) -> bool:
    """Whether the sentence of an exception was written for the user.

    This package says what a user can mend by ``raise``: wrong values, files and folders. A
    ``ValueError`` or ``TypeError`` that Python, torch or a function of the user's own raised, even
    deep inside a call from here, says nothing of the kind: it is a defect, and hiding its
    traceback would hide the defect. The system's own errors (a full disk, no permission) name
    what is wrong wherever they come from.
    """
    if isinstance(error, (OSError, CheckpointError, NonFiniteError)):
        return True
    if not isinstance(error, (ValueError, TypeError, ImportError)):
        return False
    trace = _innermost(error.__traceback__)
    if trace is None:
        return False
    module = str(trace.tb_frame.f_globals.get("__name__", ""))
    raised = trace.tb_frame.f_code.co_code[trace.tb_lasti] == _RAISE
    return raised and module.partition(".")[0] == "unshaken"


def sentence(error: BaseException) -> str:
    """The exception in one line."""
    if isinstance(error, OSError) and error.strerror:
        names = [str(n) for n in (error.filename, error.filename2) if n is not None]
        return f"{error.strerror}: {', '.join(names)}" if names else error.strerror
    text = " ".join(str(error).split())
    return text if is_mistake(error) else f"{type(error).__name__}: {text}".rstrip(": ")


def _innermost(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace
