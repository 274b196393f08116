"""Help that fits a screen of 80 columns and 24 lines, or a narrower one."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Mapping

from unshaken.cli.options import Command, Option, options_of

FURTHER = (
    *("augment", "batch_size", "channels", "classes", "data_folder", "device", "download"),
    *("directions", "layers", "padding"),
    *("engine", "finish_all", "folds", "jobs", "normalize", "only_finished", "precision", "rounds"),
    *("search", "size", "stack", "steps", "threads", "training", "validation"),
)
"""Parameters that few calls need; the short help only names their options."""

_NARROWEST, _WIDEST = 40, 100


def width() -> int:
    """Columns that text may fill: the terminal's, or 80 where there is none."""
    columns = shutil.get_terminal_size((80, 24)).columns
    return min(max(columns, _NARROWEST), _WIDEST) - 1


def of_program(commands: Mapping[str, Command]) -> str:
    """The commands, a line for each."""
    return "\n".join(
        [
            *usage("COMMAND"),
            "",
            *(line for name, c in commands.items() for line in entry(name, summary_of(c), 14)),
            "",
            *paragraph("unshaken COMMAND --help shows a command's options, --version the version."),
            *paragraph(
                "Exit codes: 0 done; 1 a run failed; 2 a mistake in what was asked; 130 stopped "
                "by Ctrl-C, what was finished is kept."
            ),
        ]
    )


def of_command(command: Command, name: str, positional: str = "") -> str:
    """What a command does and its everyday options; the others by name."""
    options = options_of(command)
    usual = [option for option in options if option.parameter not in FURTHER]
    lines = [*usage(name + positional), ""]
    lines += [*paragraph(summary_of(command)), ""]
    shown = {_head(option): _brief(option) for option in usual}
    column = max(map(len, shown), default=0) + 4
    for head, text in shown.items():
        lines += entry(head, text, column)
    rest = [option.name for option in options if option.parameter in FURTHER]
    lines += ["", *paragraph("Also: " + " ".join([*rest, "--config FILE", "--print_config"]))]
    more = f"More: unshaken {name} --help-all"
    if any(option.parameter in ("method", "methods") for option in options):
        more += ", unshaken methods"
    return "\n".join([*lines, *paragraph(more)])


def usage(words: str) -> list[str]:
    """How a command is called."""
    text = f"usage: unshaken {words} [--option value ...]"
    return textwrap.wrap(text, width(), subsequent_indent="  ", break_on_hyphens=False)


def methods() -> str:
    """The methods, each with its line and its settings."""
    from unshaken.methods.catalog import CATALOG

    lines = ["methods, and the settings that they have:"]
    for name, method in CATALOG.items():
        settings = "  ".join(f"{key}={value:g}" for key, value in method.settings.items())
        lines += entry(name, method.summary, 20)
        if settings:
            lines += entry("", settings, 24)
    return "\n".join(lines)


def summary_of(command: Command) -> str:
    """The first paragraph of a command's docstring, on one line."""
    return " ".join((inspect.getdoc(command) or "").split("\n\n")[0].split())


def entry(name: str, text: str, column: int) -> list[str]:
    """A name, and its text from a column on; on a narrow terminal below it."""
    wide = width()
    if column > wide // 2:
        indent = " " * 6
        below = textwrap.wrap(text, wide, initial_indent=indent, subsequent_indent=indent)
        return [f"  {name}", *below] if name else below
    first = f"  {name} ".ljust(column)
    indent = " " * column
    return textwrap.wrap(
        text, wide, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False
    )


def paragraph(text: str) -> list[str]:
    """Text as lines; the words of options stay whole."""
    return textwrap.wrap(text, width(), break_on_hyphens=False)


def _head(option: Option) -> str:
    return f"{option.name} {option.metavar}".rstrip()


def _brief(option: Option) -> str:
    """The first clause of its description, and its default."""
    text = option.help.split(";")[0]
    return text if option.default in (None, False) else f"{text} [{option.default}]"
