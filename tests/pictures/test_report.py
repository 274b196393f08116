"""The report: one safe, complete, deterministic file."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.pictures import fakes
from unshaken.comparison.report import render, write_report
from unshaken.comparison.table import headline, holm, verdict

RECORDS = fakes.records(5, points=20)
SUMMARY = fakes.summary(RECORDS)
HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)>\'"&$\\frac \x00\ud800'
VOID = {"meta", "br", "img", "input", "link"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.said: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [v or "" for k, v in attrs if k in ("href", "src", "action", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.said).split())


@pytest.fixture(scope="module")
def full() -> str:
    panels = [*fakes.panels(), *fakes.signal_panels()]
    return render(SUMMARY, RECORDS, panels, fakes.moons(), ["a closing note"])


def test_errors_of_validation_examples_are_never_called_those_of_a_test(full: str) -> None:
    records = [
        {
            **record,
            "history": [
                {key.replace("test_", "validation_"): value for key, value in entry.items()}
                for entry in record["history"]
            ],
        }
        for record in RECORDS
    ]
    protocol = {**SUMMARY["protocol"], "judged on": "validation"}
    page = Page(render({**SUMMARY, "protocol": protocol}, records))
    assert page.tags.count("svg") == 2 + 5
    for words in (
        "judged on validation examples, not on test ones",
        "validation error, %",
        "Validation error of each method",
        "validation loss − train loss",
        "on validation examples",
        "keeps the validation loss near",
    ):
        assert words in page.text
    assert not re.search(r"test (error|loss|set)", page.text, re.I)
    assert "validation error" not in Page(full).text


def test_everything_is_there(full: str) -> None:
    page = Page(full)
    assert page.tags.count("svg") == 2 + 5 + 4 + 2 + 1
    assert page.tags.count("figcaption") == page.tags.count("svg")
    for method in fakes.METHODS:
        assert method in page.text
    for words in (
        "digits, 100 labels · 5 seeds · 500 steps · augmentation: none",
        "samples from p + V",
        "0123456789abcdef",
        "linear:0.5",
        "a closing note",
        "after Holm",
        "radius = 0.6",
    ):
        assert words in page.text
    assert re.search(
        r"VAT makes 3\.\d ± 0\.\d % errors; plain training 9\.\d ± 0\.\d %\.", page.text
    )


def test_nothing_is_requested(full: str) -> None:
    page = Page(full)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert not {"link", "iframe", "object", "base", "form"} & set(page.tags)
    assert page.tags.count("script") == 1
    rest = re.sub(r"base64,[A-Za-z0-9+/=]+", "", full)
    assert "://" not in rest and "@import" not in rest
    assert not re.search(r"url\((?!#)", rest)
    assert "default-src 'none'" in full


def test_ids_are_unique(full: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', full)
    assert ids and len(ids) == len(set(ids))


def test_size_and_determinism(tmp_path: Path) -> None:
    panels = [*fakes.panels(), *fakes.panels(32, 3)]
    sizes = []
    for name in ("a.html", "deep/b.html"):
        write_report(tmp_path / name, SUMMARY, fakes.records(5, points=100), panels, fakes.moons())
        sizes.append((tmp_path / name).stat().st_size)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "deep/b.html").read_bytes()
    assert max(sizes) < 1_500_000
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["b.html"]


def test_hostile_strings_stay_text() -> None:
    records = copy.deepcopy(RECORDS[:30])
    summary = fakes.summary(records)
    for item in (*records, *summary["rows"]):
        if item["method"] == "vmt-all":
            item["method"] = HOSTILE
    summary["data"] = {"name": HOSTILE, "labels": HOSTILE, "info": {HOSTILE: HOSTILE}}
    summary["protocol"] = {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}], "augmentation": HOSTILE}
    summary["environment"] = {HOSTILE: HOSTILE}
    summary["notes"] = [HOSTILE]
    records[0]["alarms"] = [HOSTILE]
    records[0]["settings"] = {HOSTILE: HOSTILE}
    summary["baseline"] = HOSTILE
    text = render(summary, records, (), None, [HOSTILE])
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags and "onerror" not in page.attributes
    assert "\x00" not in text
    text.encode("utf-8")


def test_one_seed_has_no_errors_of_its_own() -> None:
    records = fakes.records(1, points=5, r=False)
    page = Page(render(fakes.summary(records), records))
    assert "±" not in page.text
    assert "One seed per method" in page.text
    assert "after Holm" not in page.text and "uncorrected" not in page.text
    assert "R of shift" not in page.text
    assert "What the methods do" not in page.text and "Decision boundaries" not in page.text


@pytest.mark.parametrize(
    "summary",
    [
        {},
        {"rows": []},
        {"rows": [{"method": "vat", "errors": [], "error_mean": None}]},
        {"rows": [{"method": "vat", "errors": [1.0, 2.0]}], "data": None, "environment": None},
        {"rows": [{"method": "vat", "errors": [float("nan")]}], "data": "digits"},
    ],
)
def test_missing_pieces_leave_no_empty_boxes(summary: dict[str, Any]) -> None:
    text = render(summary, [{"method": "vat", "seed": 0, "history": None, "settings": None}])
    Page(text)
    for empty in ("<dl></dl>", "<ul></ul>", "<p></p>", '<div class="figures"></div>'):
        assert empty not in text
    assert "Over training" not in text


def test_alarms_are_told_with_method_and_seed() -> None:
    records = copy.deepcopy(RECORDS[:15])
    records[5]["alarms"] = "the term did nothing"
    assert "vat, seed 0: the term did nothing" in Page(render(SUMMARY, records)).text


def test_what_adversaries_reached_is_a_column_with_its_meaning() -> None:
    gains = {
        "vat": {"vat": {"ratio_mean": 1.834, "ratio_sem": 0.021}},
        "xvat": {
            "xvat": {"ratio_mean": 0.998, "ratio_sem": 0.004},
            "entropy": {"ratio_mean": None, "ratio_sem": None},
        },
    }
    rows = [{**row, "gains": gains.get(row["method"], {})} for row in SUMMARY["rows"]]
    said = " ".join(Page(render({**SUMMARY, "rows": rows}, RECORDS)).said)
    assert re.search(r"divergence reached\s+÷ random's, in training", said)
    assert re.search(r"1\.83\s+± 0\.02\s+×", said) and re.search(r"0\.998\s+± 0\.004\s+×", said)
    assert "at 1 its search is worth nothing" in said
    without = " ".join(Page(render(SUMMARY, RECORDS)).said)
    assert "divergence reached" not in without and "its search" not in without


def test_holm() -> None:
    rows = [
        {"method": name, "p_value": p, "difference_mean": d}
        for name, p, d in (
            ("a", 0.01, -1.0),
            ("b", 0.04, -1.0),
            ("c", 0.03, 1.0),
            ("d", 0.005, 2.0),
            ("baseline", 0.0, 0.0),
            ("e", None, None),
        )
    ]
    adjusted = holm(rows, "baseline")
    assert adjusted == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert [verdict(row, adjusted) for row in rows] == ["fewer", "", "", "more", "", ""]
    assert holm([{"method": "a", "p_value": 0.01, "p_holm": 0.2}], "baseline") == {"a": 0.2}


def test_headlines() -> None:
    base = {"method": "baseline", "errors": [2.0, 4.0]}
    assert headline([], "baseline") == "No run has finished yet"
    assert headline([base], "baseline") == "Plain training makes 3.0 ± 1.0 % errors"
    worse = {"method": "vat", "errors": [5.0]}
    assert headline([base, worse], "baseline").startswith("No method makes fewer errors")
    better = {"method": "xvat", "errors": [0.12, 0.12]}
    assert headline([base, better], "baseline").startswith("xVAT makes 0.1 ± 0.0 % errors; plain")


def test_a_failed_write_leaves_the_old_report(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, SUMMARY, [])
    before = path.read_text()
    broken = fakes.panels()[2]
    object.__setattr__(broken, "displacement", None)
    with pytest.raises(ValueError, match="displacement"):
        write_report(path, SUMMARY, [], panels=[broken])
    assert path.read_text() == before
