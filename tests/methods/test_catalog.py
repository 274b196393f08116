"""Where the settings of every method are looked for."""

from __future__ import annotations

import math

import pytest

from unshaken.divergences import KL
from unshaken.methods.catalog import CATALOG, Shape, build, settings_for
from unshaken.models import mlp


@pytest.mark.parametrize("name", CATALOG)
def test_each_setting_has_a_range_that_holds_its_default_and_can_be_built(name):
    method = CATALOG[name]
    shape = Shape(1, (6, 6), 4, 3, mlp([36, 5, 3]))
    for setting, default in method.settings.items():
        where = method.range_of(setting)
        assert where.low <= default <= where.high
        assert math.isfinite(where.high)
        assert where.low > 0 or not where.log
        for value in (where.low, where.high):
            assert len(build(name, shape, settings_for(name, {name: {setting: value}}))) <= 3


def test_the_papers_grids():
    assert (CATALOG["vat"].range_of("radius").low, CATALOG["vat"].range_of("radius").high) == (
        0.01,
        10,
    )
    for name in ("vat", "vmt-shift", "xvat"):
        weight = CATALOG[name].range_of("weight")
        assert (weight.low, weight.high, weight.log) == (0.005, 5, True)


@pytest.mark.parametrize("name", [n for n, m in CATALOG.items() if "reverse" in m.settings])
def test_the_direction_of_the_divergence(name):
    shape = Shape(1, (6, 6), 4, 3, mlp([36, 5, 3]))
    for reverse in (False, True):
        settings = settings_for(name, {name: {"reverse": float(reverse)}})
        terms = build(name, shape, settings)
        found = [t.divergence.reverse for t in terms if isinstance(getattr(t, "divergence", 0), KL)]
        assert found == [reverse]
