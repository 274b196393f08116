"""The benchmark on a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from unshaken.benchmark import variants
from unshaken.benchmark.measure import measure
from unshaken.benchmark.setting import Setting

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

TINY = Setting("tiny", "mlp", 1, (6, 6), 3, 8, "adam", (16,), device="cuda:0")


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_every_variant_is_measured(precision):
    chosen = [variants.named(name) for name in variants.names_for(TINY.size)]
    found = measure(replace(TINY, precision=precision), chosen, 2, turn=0.01)
    assert found["clock"] == "device events"
    assert "tf32" in found["setting"]
    for row in found["rows"]:
        assert row["library"]["ratio"]["median"] > 0
        assert row["library"]["memory"] > 0
