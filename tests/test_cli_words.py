"""How the command line is spelled, and what its help says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import unshaken
from unshaken import __version__
from unshaken.cli import values
from unshaken.cli.compare import compare
from unshaken.cli.options import arguments_of, options_of, parser_of
from unshaken.cli.program import COMMANDS
from unshaken.cli.train import train
from unshaken.cli.values import Mistake
from unshaken.methods.catalog import CATALOG


def parsed(*words: str, command: Any = compare) -> dict[str, Any]:
    parser, options = parser_of(command, "compare")
    return arguments_of(parser, options, words)


def test_an_option_is_spelled_with_hyphens_or_underscores():
    assert parsed("--batch-size", "7")["batch_size"] == 7
    assert parsed("--batch_size=7")["batch_size"] == 7


@pytest.mark.parametrize(
    "words",
    [
        ["--methods", "vat,at-l2+vmt-shift"],
        ["--methods", "vat", "at-l2+vmt-shift"],
        ["--methods", "vat,", "at-l2+vmt-shift"],
        ["--methods=vat,at-l2+vmt-shift"],
        ["--methods", "[vat, at-l2+vmt-shift]"],
        ["--methods", '["vat", "at-l2+vmt-shift"]'],
        ["--methods", "baseline", "--methods", "vat", "at-l2+vmt-shift"],
        ["--methods", "vat", "at-l2+vmt-shift", "vat"],
    ],
)
def test_methods_may_be_separated_by_anything(words):
    assert parsed(*words, "--labels", "3")["methods"] == ["vat", "at-l2+vmt-shift"]


@pytest.mark.parametrize(
    ("words", "seeds"),
    [
        (["5"], [0, 1, 2, 3, 4]),
        (["1"], [0]),
        (["0,3,7"], [0, 3, 7]),
        (["0", "3", "7"], [0, 3, 7]),
        (["[0, 3, 7]"], [0, 3, 7]),
        (["[7]"], [7]),
        (["7,"], [7]),
        (["3,3,0"], [3, 0]),
    ],
)
def test_seeds_are_a_number_or_a_list(words, seeds):
    assert parsed("--seeds", *words)["seeds"] == seeds
    assert values.seeds(seeds) == seeds


def test_flags_stand_alone():
    assert parsed("--resume", "--quiet", command=train)["resume"] is True
    assert parsed(command=train)["resume"] is False


def test_settings_by_name():
    words = ["--settings.vat.radius", "1e-3", "--settings.at-l2.weight=2", "--training.lr", "0.1"]
    found = parsed(*words)
    assert found["settings"] == {"vat.radius": 1e-3, "at-l2.weight": 2}
    assert found["training"] == {"lr": 0.1}
    assert parsed("--settings", '{"vat": {"radius": 2}}')["settings"] == {"vat.radius": 2}


def test_a_later_option_wins():
    assert parsed("--seeds", "5", "--out", "a", "--seeds", "1", "--out", "b")["out"] == "b"


def config(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(text)
    return str(path)


def test_a_config_file_gives_options_that_words_win_over(tmp_path):
    path = config(
        tmp_path,
        "labels: 100\nbatch-size: 32\nmethods: [vat, baseline]\nseeds: 2\nquiet: true\nout: 3\n"
        "settings: {vat: {radius: 2.0, weight: 1e-1}}\nsteps: null\n",
    )
    found = parsed("--labels", "20", "--config", path, "--settings.vat.radius", "3")
    assert found["labels"] == 20
    assert found["batch_size"] == 32
    assert found["methods"] == ["vat", "baseline"]
    assert found["seeds"] == [0, 1]
    assert found["quiet"] is True
    assert found["out"] == "3"
    assert found["settings"] == {"vat.radius": 3, "vat.weight": 0.1}


@pytest.mark.parametrize(("word", "other"), [("epochs", "steps"), ("steps", "epochs")])
def test_a_length_on_the_command_line_wins_over_another_in_the_file(tmp_path, word, other):
    path = config(tmp_path, f"{other}: 7\nlabels: 20\n")
    said = unshaken("train", "--config", path, f"--{word}", "3", "--print_config")
    found = yaml.safe_load(said.out)
    assert (said.code, found[word], found[other], found["labels"]) == (0, 3, None, 20)


def test_two_config_files_add_up(tmp_path):
    """As two searches' best settings: those of each method stay."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    first = config(
        one, "labels: 20\nsettings: {xvat: {weight: 0.1, sparsity: 2}, vat: {weight: 3}}"
    )
    second = config(two, "settings: {vat: {radius: 0.5}, xvat: {weight: 0.7}}")
    found = parsed("--config", first, "--config", second, "--settings.vat.weight", "4")
    assert found["labels"] == 20
    assert found["settings"] == {
        "xvat.weight": 0.7,
        "xvat.sparsity": 2,
        "vat.weight": 4,
        "vat.radius": 0.5,
    }


def test_an_empty_config_file_changes_nothing(tmp_path):
    assert parsed("--config", config(tmp_path, "")) == parsed()


def test_an_option_may_have_another_name(tmp_path):
    assert parsed("--network", "mlp")["model"] == "mlp"
    assert parsed("--config", config(tmp_path, "network: mlp\n"))["model"] == "mlp"


@pytest.mark.parametrize("command", ["train", "compare", "tune", "bench"])
@pytest.mark.parametrize("option", ["--print_config", "--print-config"])
def test_the_printed_config_is_one(tmp_path, command, option):
    of_bench = ["--methods", "vat", "at-l2"]
    own = of_bench if command == "bench" else ["--labels", "20", "--training.ema", "0.9"]
    words = ["--batch_size", "5", "--quiet", *own]
    said = unshaken(command, *words, option)
    assert said.code == 0
    assert yaml.safe_load(said.out)["batch_size"] == 5
    path = config(tmp_path, said.out)
    assert unshaken(command, "--config", path, option).out == said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_full_help_fits_a_terminal_and_names_the_methods(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = unshaken(command, "--help-all")
    assert (said.code, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= 80
    for name, method in CATALOG.items():
        assert any(
            line.split()[:1] == [name] and method.summary[:20] in line
            for line in said.out.splitlines()
        )
    assert "_" not in "".join(
        w for w in said.out.split() if w.startswith("--") and "." not in w and w != "--print_config"
    )


@pytest.mark.parametrize("command", [train, compare])
def test_every_option_is_described(command):
    for option in options_of(command):
        assert len(option.help) > 10, option


def test_the_version():
    for words in (["--version"], ["train", "--version"]):
        assert unshaken(*words).out == f"unshaken {__version__}\n"


@pytest.mark.parametrize("value", [True, 1.5, "1.5", "x", [1]])
def test_what_is_no_whole_number(value):
    with pytest.raises(Mistake, match="must be a whole number, got"):
        values.integer(value)


def test_the_module_is_a_program():
    source = Path(__file__).parents[1] / "src"
    begin = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-m", "unshaken", "--help"],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    # 1.1 s on an idle core, nearly all of it PyTorch; the bound is for a busy one.
    assert time.monotonic() - begin < 15
    assert "compare" in found.stdout
