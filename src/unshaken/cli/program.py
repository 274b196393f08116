"""The program ``unshaken``: its commands, its help and its exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from unshaken.cli import help
from unshaken.cli.options import Command, arguments_of, parser_of
from unshaken.cli.values import Mistake, closest

COMMANDS = (
    "train",
    "compare",
    "tune",
    "reproduce",
    "audit",
    "bench",
    "methods",
    "doctor",
    "completion",
)
"""Each is a function in the module of its name beside this one."""

POSITIONAL = {"reproduce": "--name", "audit": "--run", "completion": "--shell"}
"""Commands whose first word may be the value of this option."""

FAILED = 1
USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0; 1 where training failed; 2 for a user's mistake; 128 + the number of
        the signal that stopped it (130 for Ctrl-C).
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _say("stopped; what was finished is kept", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away, as head does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except Exception as error:
        if os.environ.get("UNSHAKEN_DEBUG"):
            raise
        return _explain(error)


def _run(words: list[str]) -> int:
    if words[:1] == ["help"] and len(words) > 1:
        words = [words[1], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(help.of_program(commands()))
        return 0
    if "--version" in words:
        print(f"unshaken {_version()}")
        return 0
    name = words[0]
    if name.startswith("-"):
        raise Mistake(f"the command comes first, one of {', '.join(COMMANDS)}; got {name!r}")
    if name not in COMMANDS:
        raise Mistake(
            f"there is no command {name!r}{closest(name, COMMANDS)} (commands: "
            f"{', '.join(COMMANDS)})"
        )
    if name in POSITIONAL and len(words) > 1 and not words[1].startswith("-"):
        words = [name, POSITIONAL[name], *words[1:]]
    command = _command(name)
    if any(word in ("-h", "--help") for word in words[1:]):
        positional = " [NAME]" if name in POSITIONAL else ""
        print(help.of_command(command, name, positional))
        return 0
    full = "--help-all" in words[1:]
    parser, options = parser_of(command, name, help.methods() if full else "")
    given = ["--help"] if full else words[1:]
    return command(**arguments_of(parser, options, given))


def _explain(error: Exception) -> int:
    """One sentence for what a user can mend; a traceback for what only we can."""
    if isinstance(error, Mistake):
        return _say(f"error: {error}", USAGE_ERROR)

    import torch

    from unshaken.comparison.compare import Stopped
    from unshaken.comparison.mistakes import is_mistake, sentence
    from unshaken.training import Interrupted, NonFiniteError

    if isinstance(error, Stopped):
        return _say(str(error), error.exit_code)
    if isinstance(error, Interrupted):
        kept = f"; the same command with --resume goes on from {error.checkpoint}"
        return _say(
            f"stopped by {error.signal.name} after step {error.step}{kept}", error.exit_code
        )
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return _say("error: not enough memory; a smaller --batch-size needs less", FAILED)
    if not is_mistake(error):
        raise error
    code = FAILED if isinstance(error, NonFiniteError) else USAGE_ERROR
    # The library speaks of its argument, a user of the program has an option.
    said = sentence(error).replace("pass download=True", "add --download")
    return _say(f"error: {said}", code)


def _say(sentence: str, code: int) -> int:
    print(f"unshaken: {sentence}", file=sys.stderr)
    return code


def commands() -> dict[str, Command]:
    """Every command by its name."""
    return {name: _command(name) for name in COMMANDS}


def _command(name: str) -> Command:
    command: Command = getattr(importlib.import_module(f"unshaken.cli.{name}"), name)
    return command


def _version() -> str:
    import unshaken

    return unshaken.__version__
