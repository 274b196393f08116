"""``unshaken completion``: what a shell needs to finish a half-written command."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping

from unshaken.cli.chosen import check_known
from unshaken.cli.options import options_of

SHELLS = ("bash", "zsh", "fish")


def completion(shell: str = "bash") -> int:
    """Print a script that completes commands, options and names in bash, zsh or fish.

    It is a plain list: the shell never waits for Python. In bash and zsh
    eval "$(unshaken completion bash)", in fish unshaken completion fish | source.

    Args:
        shell: bash, zsh or fish; the first word after completion may be it
    """
    check_known("--shell", shell, SHELLS)
    print(fish() if shell == "fish" else bash(zsh=shell == "zsh"))
    return 0


def words() -> dict[str, dict[str, tuple[str, ...]]]:
    """The values that each option of each command may take; none where they are not known."""
    from unshaken import data, models
    from unshaken.cli.program import COMMANDS
    from unshaken.comparison.recipe import SCALES
    from unshaken.comparison.recipe import names as recipes
    from unshaken.methods.catalog import CATALOG

    known: Mapping[str, Iterable[str]] = {
        "data": data.NAMES,
        "method": CATALOG,
        "methods": CATALOG,
        "model": models.NAMES,
        "name": recipes(),
        "normalize": data.NORMALIZATIONS,
        "scale": SCALES,
        "search": ("tpe", "grid", "random"),
        "shell": SHELLS,
    }
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name in COMMANDS:
        command = getattr(importlib.import_module(f"unshaken.cli.{name}"), name)
        options = {o.name: tuple(known.get(o.parameter, ())) for o in options_of(command)}
        found[name] = {**options, "--config": (), "--help": (), "--help-all": ()}
    return found


def bash(zsh: bool = False) -> str:
    """A function for bash; zsh runs it by its bashcompinit."""
    from unshaken.cli.program import POSITIONAL

    head = ["autoload -U +X bashcompinit && bashcompinit"] if zsh else []
    every = words()
    values = sorted(
        {
            f"    {command}:{option}) words={_quoted(choices)} ;;"
            for command, options in every.items()
            for option, choices in options.items()
            if choices
        }
    )
    for command, option in POSITIONAL.items():
        values.append(f"    {command}:{command}) words={_quoted(every[command][option])} ;;")
    options = [f"      {name}) words={_quoted(found)} ;;" for name, found in every.items()]
    return "\n".join(
        [
            *head,
            "_unshaken() {",
            '  local now="${COMP_WORDS[COMP_CWORD]}" words=""',
            '  local before="${COMP_WORDS[COMP_CWORD-1]}" command="${COMP_WORDS[1]}"',
            '  if [ "$COMP_CWORD" -eq 1 ]; then',
            f"    words={_quoted([*every, '--help', '--version'])}",
            '  else case "$command:$before" in',
            *values,
            '    *) case "$now" in -*) case "$command" in',
            *options,
            "      esac ;; esac ;;",
            "  esac; fi",
            # With nothing to offer the shell goes on with the names of files.
            '  COMPREPLY=($(compgen -W "$words" -- "$now"))',
            "}",
            "complete -o default -F _unshaken unshaken",
        ]
    )


def fish() -> str:
    """Lines for fish."""
    from unshaken.cli.program import POSITIONAL

    every = words()
    lines = [f"complete -c unshaken -n __fish_use_subcommand -f -a {_quoted(every)}"]
    for command, option in POSITIONAL.items():
        seen = f"'__fish_seen_subcommand_from {command}'"
        lines.append(f"complete -c unshaken -n {seen} -f -a {_quoted(every[command][option])}")
    for command, options in every.items():
        seen = f"'__fish_seen_subcommand_from {command}'"
        for option, choices in options.items():
            values = f" -x -a {_quoted(choices)}" if choices else ""
            lines.append(f"complete -c unshaken -n {seen} -l {option[2:]}{values}")
    return "\n".join(lines)


def _quoted(names: Iterable[str]) -> str:
    return "'" + " ".join(names) + "'"
