"""From a function to its command: options of its signature, words of its docstring."""

from __future__ import annotations

import inspect
import re
import textwrap
import types
from argparse import Action
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from unshaken.cli import values
from unshaken.cli.values import Mistake, closest
from unshaken.cli.words import spelled

Command = Callable[..., int]

_CONVERT: Mapping[object, Callable[[Any], Any]] = {
    str: values.text,
    int: values.integer,
    bool: values.flag,
    list[str]: values.names,
    list[int]: values.seeds,
    dict[str, Any]: values.mapping,
}
_SHOWN: Mapping[object, str] = {
    int: "N",
    list[str]: "NAMES",
    list[int]: "SEEDS",
    dict[str, Any]: "NAME=VALUE",
}


@dataclass(frozen=True)
class Option:
    """One option: ``--batch-size`` of the parameter ``batch_size``."""

    parameter: str
    kind: object
    default: Any
    help: str

    @property
    def name(self) -> str:
        return "--" + self.parameter.replace("_", "-")

    @property
    def metavar(self) -> str:
        """What stands for its value in the help; nothing for a flag."""
        return "" if self.kind is bool else _SHOWN.get(self.kind, self.parameter.upper())

    def add_to(self, parser: Parser) -> None:
        """Declare it to the parser."""
        if self.kind is bool:
            parser.add_argument(self.name, action="store_true", help=self.help)
            return
        parser.add_argument(
            self.name,
            type=_CONVERT[self.kind],
            default=self.default,
            metavar=self.metavar,
            help=self.help,
        )

    def convert(self, value: Any) -> Any:
        """What the function takes, wherever the value came from."""
        try:
            return _CONVERT[self.kind](value)
        except Mistake as error:
            raise Mistake(f"{self.name} {error}") from error


def options_of(command: Command) -> list[Option]:
    """The parameters of a function, described by the ``Args`` of its docstring."""
    hints = get_type_hints(command)
    described = _arguments(inspect.getdoc(command) or "")
    return [
        Option(name, _required(hints[name]), parameter.default, described[name])
        for name, parameter in inspect.signature(command).parameters.items()
    ]


def _required(hint: Any) -> object:
    """``T`` of ``T | None``."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint


def _arguments(doc: str) -> dict[str, str]:
    inside = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)*)", doc, re.MULTILINE)
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", inside[1] if inside else "", re.M)
    return {name: " ".join(words.split()) for name, words in entries}


class _Help(DefaultHelpFormatter):
    """Defaults where there are any; an epilog keeps its lines."""

    def _get_help_string(self, action: Action) -> str:
        words = action.help or ""
        if action.option_strings and action.default not in (None, False, "==SUPPRESS=="):
            words += " (default: %(default)s)"
        return words

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return textwrap.indent(text, indent)
        return super()._fill_text(text, width, indent)


class Parser(ArgumentParser):
    """A parser that raises one sentence and leaves it to others to print it."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise Mistake(self._sentence(" ".join(message.split()))) from ex

    def _sentence(self, message: str) -> str:
        # A value of a config file: what counts is the option, not where it came from.
        outer = r'^(argument --config: |Parser key "config": )(?=Parser key|--)'
        message = re.sub(outer, "", message)
        known = [name for name in self._option_string_actions if name.startswith("--")]
        if found := re.match(r"unrecognized arguments: (.*)", message):
            words = found[1].split()
            wrong = next((word for word in words if word.startswith("-")), words[0])
            wrong = wrong.partition("=")[0]
            if not wrong.startswith("-"):
                return f"expected an option, as --name value, got {wrong!r}"
            return f"there is no option {wrong}{closest(wrong, known)} ({self.prog} --help)"
        if found := re.match(r"argument (\S+): ignored explicit argument (.*)", message):
            return f"{found[1]} is set by its name alone, got the value {found[2]}"
        if found := re.match(r"argument (\S+): expected one argument", message):
            return f"{found[1]} needs a value"
        if found := re.match(r"argument (\S+): (.*)", message):
            return f"{found[1]} {found[2]}"
        if found := re.match(r'Parser key "([^".]+)[^"]*": (.*)', message):
            return f"--{found[1].replace('_', '-')} {found[2]}"
        return message


def parser_of(command: Command, name: str, epilog: str = "") -> tuple[Parser, list[Option]]:
    """The parser of a command."""
    options = options_of(command)
    summary = (inspect.getdoc(command) or "").split("\n\n")[0]
    parser = Parser(
        prog=f"unshaken {name}",
        description=" ".join(summary.split()),
        epilog=epilog or None,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        action="config",
        metavar="FILE",
        help="YAML file with options by name; options given beside it win",
    )
    for option in options:
        option.add_to(parser)
    for action in parser._actions:
        if "--print_config" in action.option_strings:
            action.help = "print all options as such a file and exit"
            action.metavar = ""
    return parser, options


def arguments_of(parser: Parser, options: Sequence[Option], words: Sequence[str]) -> dict[str, Any]:
    """The arguments that the words mean, by parameter.

    Raises:
        Mistake: an option is unknown, or a value is not what its option expects.
        SystemExit: help or the configuration was asked for and is printed.
    """
    parsed = parser.parse_args(spelled(words, {o.name: o.kind for o in options}))
    return {o.parameter: o.convert(parsed[o.parameter]) for o in options}
