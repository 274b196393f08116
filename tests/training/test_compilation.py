"""Compiled networks: the same training, the same files, and sentences where it cannot be."""

import pytest
import torch

from tests.training.helpers import config, noise, objective
from unshaken import VMT, Objective, fields
from unshaken.models import mlp
from unshaken.training import compilation, load_model_weights, train
from unshaken.training.compilation import compiled

CPU = torch.device("cpu")


@pytest.mark.skipif(not compilation._has_compiler(), reason="needs a C++ compiler")
def test_compiled_training_is_training(tmp_path):
    found = []
    for compile_ in (False, True):
        target = objective(dropout=0.0, batch_norm=False)
        given = config(steps=4, compile=compile_, ema=0.9)
        out = tmp_path / str(compile_)
        result = train(target, *noise(), given, device="cpu", out=out)
        found.append((load_model_weights(out), result.history))
    (eager, first), (fast, second) = found
    assert eager.keys() == fast.keys()
    for name, value in eager.items():
        torch.testing.assert_close(fast[name], value, rtol=1e-4, atol=1e-5)
    for a, b in zip(first, second, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def test_a_second_derivative_is_refused():
    target = Objective(mlp([4, 2]), VMT(fields.Shift()))
    with pytest.raises(ValueError, match="compile must be False with vmt, which differentiates"):
        compiled(target, CPU)


def test_without_a_compiler_it_goes_on(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    target = objective()
    with pytest.warns(UserWarning, match=r"needs a C\+\+ compiler"):
        assert compiled(target, CPU) is target
