"""``unshaken bench``: what it prints, what it keeps, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch

from tests.commands import mistake, unshaken

METHODS = "baseline,at-l2,vat,xvat"


def tiny(channels: int, size: tuple[int, ...], classes: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.LeakyReLU(0.1),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, classes),
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    words = ["--model", f"{__name__}:tiny", "--size", "8x6", "--channels", "2", "--classes", "3"]
    words += ["--batch-size", "4", "--rounds", "2", "--methods", METHODS, "--device", "cpu"]
    said = unshaken("bench", *words, "--out", out, "--quiet")
    assert said.code == 0, said
    return said, json.loads((out / "bench.json").read_text()), out


def test_the_table_fits_a_terminal_and_names_every_method(measured):
    said, _, _ = measured
    lines = said.out.split("report:")[0].splitlines()
    assert max(len(line) for line in lines) <= 80
    assert all(f"\n {name} " in said.out for name in METHODS.split(","))
    assert said.err == ""


def test_every_method_that_suits_is_measured(tmp_path):
    words = ["--model", f"{__name__}:tiny", "--size", "8x6", "--channels", "2", "--classes", "3"]
    words += ["--batch-size", "4", "--rounds", "1", "--out", tmp_path, "--quiet"]
    said = unshaken("bench", *words, "--device", "cpu")
    assert said.code == 0, said
    found = {row["method"] for row in json.loads((tmp_path / "bench.json").read_text())["rows"]}
    assert {"mean-teacher", "temporal-ensembling", "mixup", "vmt-shift", "mat"} <= found


def test_compiled_steps_have_their_own_column(tmp_path):
    words = ["--model", "moons_mlp", "--batch-size", "4", "--rounds", "2", "--methods", "at-l2"]
    said = unshaken("bench", *words, "--compiled", "--out", tmp_path, "--quiet", "--device", "cpu")
    assert said.code == 0, said
    assert "com-" in said.out
    (row,) = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert row["compiled"]["ratio"]["median"] > 0
    assert "memory" not in row["compiled"]
    assert "<th>compiled</th>" in (tmp_path / "report.html").read_text()


def test_what_is_kept(measured):
    _, found, _ = measured
    assert found["setting"]["size"] == [8, 6]
    assert found["setting"]["batch_size"] == 4
    assert found["clock"] == "CPU time"
    assert {"torch", "processor", "commit", "threads"} <= set(found["environment"])
    assert [row["method"] for row in found["rows"]] == METHODS.split(",")
    for row in found["rows"]:
        ratio = row["library"]["ratio"]
        assert len(ratio["rounds"]) == found["rounds"] == 2
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
        assert row["library"]["memory"] > 0
        assert row["library"]["examples_per_second"] * row["library"]["seconds"] == pytest.approx(4)
        assert (row["textbook"] is None) == (row["method"] == "baseline")
        assert row["least"]["ratio"] == row["least"]["passes"] / 3


def test_passes_are_counted_not_believed(measured):
    _, found, _ = measured
    rows = {row["method"]: row for row in found["rows"]}
    plain = found["plain"]["passes"]
    assert rows["baseline"]["library"]["passes"] == plain
    assert plain < 3  # no gradient in the input
    assert rows["at-l2"]["library"]["passes"] < rows["at-l2"]["textbook"]["passes"]
    assert rows["vat"]["library"]["passes"] < rows["vat"]["textbook"]["passes"]
    assert rows["xvat"]["library"]["passes"] < rows["xvat"]["textbook"]["passes"]
    assert plain < rows["at-l2"]["library"]["passes"] < rows["vat"]["library"]["passes"]


def test_the_report_opens_offline(measured):
    _, _, out = measured
    text = (out / "report.html").read_text()
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert text.count("<svg") == 2
    assert (out / "time.svg").read_text().startswith("<svg")
    assert "prefers-color-scheme:dark" in (out / "memory.svg").read_text()


def test_a_seed_of_its_own_leaves_the_callers_random_state(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    words = ["--model", f"{__name__}:tiny", "--size", "6", "--batch-size", "3", "--rounds", "1"]
    said = unshaken(
        "bench", *words, "--methods", "baseline", "--device", "cpu", "--quiet", "--json"
    )
    assert said.code == 0
    assert json.loads(said.out)["rows"][0]["method"] == "baseline"
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "conv_smal"], "did you mean 'conv_small'?"),
        (["--methods", "vmt-shif"], "did you mean 'vmt-shift'?"),
        (["--size", "8,6"], "--size must be as 32, 28x28 or none, got '8,6'"),
        (["--size", "0"], "--size must be as 32, 28x28 or none, got '0'"),
        (["--precision", "8"], "--precision must be one of 32, 64, bf16; got '8'"),
        (["--rounds", "0"], "rounds must be an integer >= 1, got 0"),
        (["--threads", "0"], "threads must be an integer >= 1, got 0"),
        (["--batch-size", "0"], "batch_size must be an integer >= 1, got 0"),
        (["--device", "tpu"], "device must be 'cpu', 'cuda' or 'cuda:N', got 'tpu'"),
        (["--size", "2"], "conv_small takes images of at least 4×4 pixels, got 2×2"),
        (
            ["--model", "moons_mlp", "--methods", "vmt-shift"],
            "--methods: vmt-shift needs inputs with more spatial axes, got size ()",
        ),
        (["--model", "mlp", "--size", "none", "--methods", "vmt-affine"], "more spatial axes"),
    ],
)
def test_mistakes(words, sentence):
    assert sentence in mistake("bench", *words)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert "out must be a folder" in mistake("bench", "--out", tmp_path / "file" / "deeper")
