"""Splits: class-balanced, disjoint, nested, and a pure function of the seed."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unshaken.data import DataError, Dataset, Split, load, split


def toy(counts: list[int], unlabeled: int = 0) -> Dataset:
    y = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    x = torch.randn(len(y) + 4, 2, generator=torch.Generator().manual_seed(0))
    extra = torch.zeros(unlabeled, 2) if unlabeled else None
    return Dataset(
        "toy", x[:-4], y, x[-4:], torch.arange(4) % len(counts), len(counts), x_unlabeled=extra
    )


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(12, 30), min_size=2, max_size=5),
    labels=st.integers(5, 20),
    validation=st.integers(0, 9),
    seed=st.integers(0, 2**40),
    include=st.booleans(),
)
def test_balanced_and_apart(
    counts: list[int], labels: int, validation: int, seed: int, include: bool
) -> None:
    data = toy(counts, unlabeled=3)
    state = torch.random.get_rng_state()
    parts = split(data, labels=labels, validation=validation, seed=seed, include_labeled=include)
    assert torch.equal(state, torch.random.get_rng_state())
    for indices, total in ((parts.labeled, labels), (parts.validation, validation)):
        each = data.y_train[indices].bincount(minlength=len(counts))
        assert len(indices) == total and int(each.max() - each.min()) <= 1
    everything = set(range(len(data.x_all))) - set(parts.validation.tolist())
    if not include:
        everything -= set(parts.labeled.tolist())
    assert set(parts.unlabeled.tolist()) == everything
    assert not set(parts.labeled.tolist()) & set(parts.validation.tolist())


def test_pure_function_of_the_seed() -> None:
    data = load("digits")
    torch.manual_seed(1)
    first = split(data, labels=100, validation=50, seed=7)
    torch.manual_seed(2)
    again = split(data, labels=100, validation=50, seed=7)
    other = split(data, labels=100, validation=50, seed=8)
    assert torch.equal(first.labeled, again.labeled)
    assert torch.equal(first.validation, again.validation)
    assert not torch.equal(first.labeled, other.labeled)
    # Written out, so that no platform or release can change published splits unseen.
    assert first.labeled[:8].tolist() == FIRST_LABELED


def test_fewer_labels_are_a_subset_and_validation_does_not_move_them() -> None:
    data = load("digits")
    few = set(split(data, labels=50, seed=1).labeled.tolist())
    assert few < set(split(data, labels=200, seed=1).labeled.tolist())
    assert few == set(split(data, labels=50, validation=100, seed=1).labeled.tolist())


def test_all_labels() -> None:
    data = toy([5, 9])
    assert split(data, labels=None, seed=0).labeled.tolist() == list(range(14))
    # Classes of unequal size: the whole pool is the one choice there is.
    assert split(data, labels=14, seed=0).labeled.tolist() == list(range(14))
    parts = split(data, labels=None, validation=4, seed=0)
    assert sorted(parts.labeled.tolist() + parts.validation.tolist()) == list(range(14))


@pytest.mark.parametrize(
    ("labels", "validation", "message"),
    [
        (-1, 0, r"^labels: expected 2 .* got -1$"),
        (1, 0, r"^labels: expected 2 \(one of each class\) .. 14 .* got 1$"),
        (15, 0, r"^labels: expected 2 .* 14 of 14 training examples, got 15$"),
        (12, 4, r"^labels: .* 10 of 14 training examples besides 4 for validation, got 12$"),
        (12, 0, r"^labels: expected at most 5 of class 0, .* got 12 in all or 6"),
        (None, -1, r"^validation: expected 0 .. 13 of 14 training examples, got -1$"),
        (None, 14, r"^validation: expected 0 .. 13"),
        (None, 12, r"^validation: expected at most 5 of class 0"),
        (None, 10, r"^validation: expected a labeled example left in each class"),
    ],
)
def test_errors_name_the_argument(labels: int | None, validation: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split(toy([5, 9]), labels=labels, validation=validation, seed=0)


def test_folds_are_disjoint_and_the_first_one_is_the_plain_validation_set() -> None:
    data = toy([10, 13])
    folds = [split(data, labels=8, validation=10, fold=k, seed=3) for k in range(2)]
    held = [set(parts.validation.tolist()) for parts in folds]
    assert held[0] == set(split(data, validation=10, seed=3).validation.tolist())
    assert not held[0] & held[1]
    for parts, own in zip(folds, held, strict=True):
        assert [int((data.y_train[parts.validation] == k).sum()) for k in (0, 1)] == [5, 5]
        assert len(parts.labeled) == 8
        assert not own & set(parts.labeled.tolist())
        assert not own & set(parts.unlabeled.tolist())
    with pytest.raises(ValueError, match=r"^validation: .* class 0, .* or 5 .* each of 3 folds$"):
        split(data, labels=4, validation=10, fold=2, seed=3)
    with pytest.raises(ValueError, match=r"^fold: expected 0 or more, got -1$"):
        split(data, validation=10, fold=-1, seed=3)


def test_save_and_read(tmp_path: Path) -> None:
    parts = split(load("moons"), labels=8, seed=2)
    parts.save(tmp_path / "deep" / "split.json")
    again = Split.read(tmp_path / "deep" / "split.json")
    for name in ("labeled", "unlabeled", "validation"):
        assert torch.equal(getattr(parts, name), getattr(again, name))
        assert getattr(again, name).dtype == torch.int64


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"format": "other"}',
        '{"format": "unshaken split 1", "labeled": []}',
        '{"format": "unshaken split 1", "labeled": [0.5], "unlabeled": [], "validation": []}',
        '{"format": "unshaken split 1", "labeled": [true], "unlabeled": [], "validation": []}',
        '{"format": "unshaken split 1", "labeled": [2, 1], "unlabeled": [], "validation": []}',
        '{"format": "unshaken split 1", "labeled": [-1], "unlabeled": [], "validation": []}',
        '{"format": "unshaken split 1", "labeled": [1], "unlabeled": [], "validation": [1]}',
        '{"format": "unshaken split 1", "labeled": [1e400], "unlabeled": [], "validation": []}',
    ],
)
def test_damaged_split_files(tmp_path: Path, content: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"split|Split"):
        Split.read(path)
    with pytest.raises(DataError, match="no such file"):
        Split.read(tmp_path / "absent.json")


FIRST_LABELED: list[int] = [7, 21, 33, 40, 44, 49, 129, 147]
