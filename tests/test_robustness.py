"""Robustness by the toolbox's attacks, on models whose answer can be worked out."""

from __future__ import annotations

import builtins
import random

import numpy as np
import pytest
import torch
from sklearn.utils import check_random_state
from torch import nn

from unshaken.robustness import robustness

pytestmark = pytest.mark.filterwarnings("ignore")


def linear(dtype=torch.float32):
    """The class is the sign of the first of two numbers, three times as a third class."""
    model = nn.Linear(2, 3, bias=False).to(dtype)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-9.0, 0.0]]))
    return model


def two_sided():
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    return model


@pytest.fixture(scope="module", autouse=True)
def _toolbox():
    pytest.importorskip("art", reason="the extra attacks is not installed")


@pytest.mark.parametrize(("norm", "scale"), [("l2", 2**0.5), ("linf", 2.0)])
def test_a_linear_model_falls_where_its_margin_ends(norm, scale):
    """|x₁ + x₂| > radius · ‖(1, 1)‖ of the dual norm."""
    torch.manual_seed(0)
    x = torch.randn(200, 2)
    y = (x.sum(1) < 0).long()
    radii = (0.0, 0.3, 0.8)
    found = robustness(two_sided(), x, y, radii, norm, bounds=(-10.0, 10.0), steps=30)
    assert found.clean == 100 and found.accuracy[0] == 100
    expected = [100 * float((x.sum(1).abs() > r * scale).float().mean()) for r in radii]
    assert found.accuracy == pytest.approx(expected, abs=1.0)
    assert set(found.by_attack) == {"apgd-ce"}
    assert "radius 0.3: " in str(found)


def test_the_worst_attack_counts_and_state_is_kept():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(128, 16), nn.Tanh(), nn.Dropout(), nn.Linear(16, 3)
    )
    x, y = torch.randn(20, 2, 8, 8), torch.randint(3, (20,))
    numbers, state = check_random_state(None).get_state()[1].copy(), torch.get_rng_state()
    found = robustness(model, x, y, (0.5,), steps=5, queries=20)
    assert np.array_equal(numbers, check_random_state(None).get_state()[1])
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert set(found.by_attack) == {"apgd-ce", "apgd-dlr", "square"}
    assert found.accuracy[0] <= min(values[0] for values in found.by_attack.values())
    assert found.clean >= max(values[0] for values in found.by_attack.values())
    for own in (3, 4):  # whatever Python's generator has drawn before
        random.seed(own)
        before = random.getstate()
        assert robustness(model, x, y, (0.5,), steps=5, queries=20) == found
        assert random.getstate() == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"norm": "l1"}, "norm must be one of"),
        ({"attacks": ["fgsm"]}, "attacks must be one of"),
        ({"attacks": ["square"]}, r"square needs images \(N, C, H, W\)"),
        ({"attacks": []}, "at least one"),
        ({"radii": ()}, "radii must hold at least one"),
        ({"radii": (-1.0,)}, "radii must be"),
        ({"y": torch.zeros(3).long()}, "y must hold 4 labels"),
        ({"bounds": (1.0, 1.0)}, "bounds must be a number and a larger one"),
    ],
)
def test_mistakes(changes, sentence):
    given = {"x": torch.randn(4, 2), "y": torch.zeros(4).long(), "radii": (0.1,), **changes}
    with pytest.raises(ValueError, match=sentence):
        robustness(linear(), **given)


def test_without_the_toolbox_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("art"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'unshaken\[attacks\]'"):
        robustness(linear(), torch.randn(4, 2), torch.zeros(4).long(), (0.1,))
