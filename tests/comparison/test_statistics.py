import math

import numpy as np
import pytest
from scipy import stats

from unshaken.comparison.statistics import mean_and_error, paired, rows


def record(method, seed, error, seconds=1.0):
    return {"method": method, "seed": seed, "error": error, "seconds_per_step": seconds}


def test_mean_and_error():
    assert mean_and_error([]) == (None, None)
    assert mean_and_error([3.0]) == (3.0, None)
    assert mean_and_error([1.0, 3.0]) == (2.0, 1.0)
    values = [4.2, 3.9, 5.1, 4.4]
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(np.mean(values))
    assert error == pytest.approx(stats.sem(values))


def test_the_paired_t_test_by_hand():
    # Differences -1, -2, -3: mean -2, s = 1, t = -2 √3 with 2 degrees of freedom, for which
    # P(T < -t) = 1/2 - t / (2 √(2 + t²)).
    found = paired([4.0, 3.0, 2.0], [5.0, 5.0, 5.0])
    assert found["difference_mean"] == -2.0
    assert found["difference_sem"] == pytest.approx(1 / math.sqrt(3))
    assert found["p_value"] == pytest.approx(1 - math.sqrt(12 / 14))


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_the_paired_t_test_is_scipys(count):
    generator = np.random.default_rng(count)
    a, b = generator.normal(5, 1, (2, count))
    assert paired(a.tolist(), b.tolist())["p_value"] == pytest.approx(stats.ttest_rel(a, b).pvalue)


@pytest.mark.parametrize(
    ("values", "baseline", "mean", "error", "p"),
    [
        ([], [], None, None, None),
        ([3.0], [5.0], -2.0, None, None),
        ([5.0, 4.0], [5.0, 4.0], 0.0, 0.0, 1.0),
        # Equal differences have no spread; 0.6 - 0.4 and 0.3 - 0.1 differ by rounding only.
        ([0.6, 0.3], [0.4, 0.1], 0.2, 0.0, None),
        ([0.0, 0.0], [0.0, 0.0], 0.0, 0.0, 1.0),
    ],
)
def test_too_little_to_tell(values, baseline, mean, error, p):
    found = paired(values, baseline)
    assert found["difference_mean"] == pytest.approx(mean)
    assert found["difference_sem"] == error
    assert found["p_value"] == p


def test_rows():
    records = [
        {**record("vat", 1, 3.0, 3.0), "alarms": ["silent"]},
        record("vat", 0, 2.0, 2.0),
        record("baseline", 0, 5.0, 1.0),
        record("baseline", 1, 5.0, 1.0),
        record("baseline", 2, 8.0, 2.0),
        {"method": "vat", "seed": 2, "failed": "NaN", "history": []},
    ]
    baseline, vat = rows(records, ["baseline", "vat"])
    assert baseline["errors"] == [5.0, 5.0, 8.0]
    assert baseline["seeds"] == [0, 1, 2]
    assert baseline["error_mean"] == 6.0
    assert baseline["error_sem"] == pytest.approx(1.0)
    assert baseline["seconds_per_step"] == 1.0
    assert baseline["cost_ratio"] == 1.0
    assert baseline["difference_mean"] is baseline["p_value"] is None
    # Paired with the baseline's runs of the same seeds, listed by seed.
    assert vat["errors"] == [2.0, 3.0]
    assert vat["difference_mean"] == -2.5
    assert vat["cost_ratio"] == 2.5
    assert vat["failures"] == ["seed 2: NaN"]
    assert vat["alarms"] == ["seed 1: silent"]


def test_rows_without_a_baseline_or_without_runs():
    vat, xvat = rows([record("vat", 0, 2.0)], ["vat", "xvat"])
    assert vat["error_mean"] == 2.0
    assert vat["error_sem"] is vat["difference_mean"] is vat["cost_ratio"] is None
    assert xvat["errors"] == xvat["failures"] == []
    assert xvat["error_mean"] is xvat["seconds_per_step"] is None


def test_a_clock_that_read_zero():
    (row,) = rows([record("baseline", 0, 1.0, 0.0)], ["baseline"])
    assert row["cost_ratio"] == 1.0


def test_what_adversaries_were_worth_in_training():
    runs = [
        {**record("vat", seed, 1.0), "reached": {"vat": {"adversary": a, "random": 0.5}}}
        for seed, a in enumerate((1.0, 2.0))
    ]
    table = rows([record("baseline", 0, 2.0), *runs], ["baseline", "vat"])
    assert table[0]["gains"] == {}
    assert table[1]["gains"] == {
        "vat": {"adversary": 1.5, "random": 0.5, "ratio_mean": 3.0, "ratio_sem": 1.0}
    }


def test_an_adversary_against_nothing_has_no_ratio():
    run = {**record("vat", 0, 1.0), "reached": {"vat": {"adversary": 0.0, "random": 0.0}}}
    assert rows([run], ["vat"])[0]["gains"]["vat"]["ratio_mean"] is None
