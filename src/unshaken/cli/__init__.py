"""The command line: ``unshaken COMMAND --option value``."""

from unshaken.cli.program import main

__all__ = ["main"]
