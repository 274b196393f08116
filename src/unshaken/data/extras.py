"""Libraries that only some data sets need, imported when they are."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["require"]


def require(module: str, purpose: str) -> Any:
    """The imported module.

    Raises:
        ImportError: it is not installed; the message is one line and says what to do.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = {"PIL": "pillow"}.get(module.split(".")[0], module.split(".")[0])
        raise ImportError(
            f"{purpose} needs {package}, which cannot be imported here ({error}); "
            'install it with: pip install "unshaken[hub]"'
        ) from error
