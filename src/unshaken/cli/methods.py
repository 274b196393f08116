"""``unshaken methods``: every method with its settings."""

from __future__ import annotations


def methods(json: bool = False) -> int:
    """List the methods and their settings.

    Args:
        json: print one JSON object, {method: {summary, settings}}
    """
    from unshaken.cli import help
    from unshaken.cli.output import print_json
    from unshaken.methods.catalog import CATALOG

    if json:
        print_json({n: {"summary": m.summary, "settings": m.settings} for n, m in CATALOG.items()})
    else:
        print(help.methods())
    return 0
