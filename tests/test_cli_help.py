"""Help that fits a screen, the list of methods, and completion for shells."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.commands import mistake, unshaken
from unshaken.cli import completion, help
from unshaken.cli.options import options_of
from unshaken.cli.program import COMMANDS, _command
from unshaken.methods.catalog import CATALOG


@pytest.mark.parametrize("command", ["", *COMMANDS])
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (50, 60), (20, 80)])
def test_it_fits_the_terminal(command, columns, rows, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    said = unshaken(*filter(None, [command]), "--help")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert len(lines) <= rows
    assert max(map(len, lines)) < max(columns, 41)


@pytest.mark.parametrize("command", COMMANDS)
def test_it_names_every_option(command):
    short, full = unshaken(command, "-h").out, unshaken(command, "--help-all").out
    for option in options_of(_command(command)):
        assert f"{option.name} " in short.replace("\n", " ")
        assert option.name in full
    assert "--config" in short and "--config" in full


def test_help_may_be_asked_for_in_several_ways():
    assert unshaken("help", "train").out == unshaken("train", "-h").out
    assert unshaken("help").out == unshaken().out == unshaken("-h").out


def test_further_options_exist():
    known = {o.parameter for c in COMMANDS for o in options_of(_command(c))}
    assert known >= set(help.FURTHER)


def test_the_methods_are_listed():
    said = unshaken("methods")
    for name, method in CATALOG.items():
        assert any(
            line.split()[:1] == [name] and method.summary[:20] in line
            for line in said.out.splitlines()
        )
    found = json.loads(unshaken("methods", "--json").out)
    assert list(found) == list(CATALOG)
    assert found["vat"]["settings"] == dict(CATALOG["vat"].settings)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("unshaken tr", {"train"}),
        ("unshaken train --me", {"--method"}),
        ("unshaken train --method mva", {"mvat", "mvat-elastic"}),
        ("unshaken compare --data moo", {"moons"}),
        ("unshaken completion z", {"zsh"}),
        ("unshaken reproduce vmt-table-2", {"vmt-table-2"}),
        ("unshaken train --out no-such-name", set()),
    ],
)
def test_bash_completes(words, expected, tmp_path):
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("there is no bash here")
    script = tmp_path / "unshaken.bash"
    script.write_text(unshaken("completion").out)
    ask = f"source {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1))"
    ask += '; _unshaken; echo "${COMPREPLY[@]}"'
    done = subprocess.run([shell, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_script_for_every_shell(shell, tmp_path):
    script = unshaken("completion", shell).out
    for word in (*COMMANDS, "mvat", "cifar100"):
        assert word in script
    if shutil.which(shell):
        path = tmp_path / "script"
        path.write_text(script)
        subprocess.run([shell, "-n", str(path)], check=True)


def test_another_shell_is_a_mistake():
    assert "--shell must be one of bash, zsh, fish; got 'tcsh'" in mistake("completion", "tcsh")
