"""Compiled networks: the same training, the same files, and sentences where it cannot be."""

import pytest
import torch
from torch import nn

from tests.training.helpers import config, noise, objective
from unshaken import VMT, Objective, fields
from unshaken.models import mlp
from unshaken.training import compilation, load_model_weights, train
from unshaken.training.compilation import compiled

CPU = torch.device("cpu")


needs_compiler = pytest.mark.skipif(not compilation._has_compiler(), reason="needs a C++ compiler")


@needs_compiler
@pytest.mark.parametrize("dropout", [0.0, 0.2], ids=["whole steps", "the network"])
def test_compiled_training_is_training(tmp_path, dropout):
    found = []
    for compile_ in (False, True):
        target = objective(dropout=0.0, batch_norm=False)
        if dropout:
            target.model.append(nn.Dropout(1e-12))  # a layer that draws, and drops nothing
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


@needs_compiler
def test_a_compiled_run_resumes_to_the_same_numbers(tmp_path):
    given = config(steps=6, evaluate_every=3, checkpoint_every=3, compile=True)

    def stop(model, step):
        if step == 6:
            raise KeyboardInterrupt
        return {}

    found = []
    for name, stopped in (("whole", False), ("parts", True)):
        options = {"device": "cpu", "out": tmp_path / name}
        if stopped:
            with pytest.raises(KeyboardInterrupt):
                train(objective(dropout=0.0), *noise(), given, evaluate=stop, **options)
        train(objective(dropout=0.0), *noise(), given, resume=stopped, **options)
        found.append(load_model_weights(tmp_path / name))
    for name, value in found[0].items():
        assert torch.equal(found[1][name], value), name


@needs_compiler
@pytest.mark.parametrize("whole", [False, True])
def test_a_second_derivative_through_the_network_alone_is_refused(whole):
    dropout = 0.5 if whole else 0.0
    target = Objective(mlp([4, 3, 2], dropout=dropout), VMT(fields.Shift()))
    with pytest.raises(ValueError, match="compile must be False with vmt, which differentiates"):
        compiled(target, CPU, whole=whole)


def test_without_a_compiler_it_goes_on(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    target = objective()
    with pytest.warns(UserWarning, match=r"needs a C\+\+ compiler"):
        assert compiled(target, CPU) is target
