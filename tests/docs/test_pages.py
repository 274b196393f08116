"""The pages say what is true: code runs, names and files and options exist, the site builds."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import unshaken
from unshaken.cli.options import options_of
from unshaken.cli.program import COMMANDS, commands

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = {
    str(path.relative_to(DOCS)): path.read_text("utf-8")
    for path in sorted([*DOCS.glob("*.md"), *DOCS.glob("reference/*.md")])
}
TEXTS = {**PAGES, "README.md": (ROOT / "README.md").read_text("utf-8")}
HOMES = (
    "",
    ".adversaries",
    ".divergences",
    ".perturbations",
    ".masks",
    ".fields",
    ".distributions",
    ".estimators",
    ".sklearn",
    ".sparsity",
)
OTHERS = {"DistributedDataParallel", "SyncBatchNorm", "CombinedLoader", "CATALOG", "NAME"}
OTHERS |= {"LabelPropagation", "LabelSpreading"}
EVERYWHERE = {"--config", "--print_config", "--help", "--help-all", "--version"}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if blocks(text, "python")])
def test_code_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": page}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for block in blocks(PAGES[page], "python"):
            exec(compile(block, page, "exec"), names)


def asked(text: str) -> list[str]:
    """Commands of code blocks and of inline code."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    lines += re.findall(r"`(unshaken [^`]+)`", prose(text))
    found = [re.search(r"\bunshaken ([a-z][^#>|)\"]*)", line) for line in lines]
    return [match[1] for match in found if match]


@pytest.mark.parametrize("page", TEXTS)
def test_commands_and_their_options_exist(page):
    known = {
        name: {option.name for option in options_of(command)} | EVERYWHERE
        for name, command in commands().items()
    }
    for call in asked(TEXTS[page]):
        verb, *words = call.split()
        assert verb in COMMANDS, call
        for word in words:
            if word.startswith("--"):
                option = word.partition("=")[0].partition(".")[0]
                assert option in known[verb], call


@pytest.mark.parametrize("page", TEXTS)
def test_names_exist(page):
    text = TEXTS[page]
    for path in set(re.findall(r"\bunshaken(?:\.[A-Za-z_]\w*)+", prose(text))):
        _resolve(path)
    parts = r"`((?:masks|fields|adversaries|divergences|distributions|perturbations)\.\w+)"
    for path in set(re.findall(parts, prose(text))):
        _resolve(f"unshaken.{path}")
    for name in set(re.findall(r"`([A-Z]\w+)[`(]", prose(text))) - OTHERS:
        if name.isupper() and "_" in name:
            continue  # an environment variable
        homes = [importlib.import_module(f"unshaken{home}") for home in HOMES]
        assert any(hasattr(home, name) for home in homes), f"{page}: {name}"


def _resolve(path: str) -> None:
    """A module, or a module's attribute."""
    parts = path.split(".")
    found: Any = importlib.import_module(parts[0])
    for k, part in enumerate(parts[1:], 1):
        if hasattr(found, part):
            found = getattr(found, part)
        else:
            name = ".".join(parts[: k + 1])
            assert importlib.util.find_spec(name) is not None, path
            found = importlib.import_module(name)


@pytest.mark.parametrize("page", TEXTS)
def test_files_exist(page):
    for path in re.findall(r"`((?:src|tests|benchmarks|docs|examples)/[\w./-]*)`", TEXTS[page]):
        assert path == "docs/_build" or (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", prose(PAGES[page])):
        assert "://" in target or (DOCS / page).parent.joinpath(target).exists(), target


def test_generated_parts_are_up_to_date():
    done = subprocess.run(
        [sys.executable, str(DOCS / "make_pages.py"), "--check"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_example_is_shown():
    for path in (ROOT / "examples").glob("*.py"):
        assert f"../examples/{path.name}" in PAGES["recipes.md"], path.name


def test_every_public_name_is_in_the_reference():
    reference = "\n".join(text for name, text in PAGES.items() if name.startswith("reference/"))
    for name in unshaken.__all__:
        if not name.startswith("_"):
            assert re.search(rf"\b{name}\b", reference), name


def test_the_site_builds_without_a_warning(tmp_path):
    for module in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(module, reason="the extra docs is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(DOCS), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "KL[p" in (tmp_path / "reference" / "methods.html").read_text("utf-8")
