"""Under Lightning the gradients are the objective's own, however the batch is given."""

from __future__ import annotations

import copy
import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from unshaken import VMT, XVAT, EntropyMinimization, Objective, fields, masks
from unshaken.divergences import SquaredError
from unshaken.models import mlp

pl = pytest.importorskip("lightning.pytorch", reason="the extra lightning is not installed")
ROOT = Path(__file__).resolve().parents[1]
SGD = functools.partial(torch.optim.SGD, lr=0.1)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(12, 1, 6), torch.arange(12) % 3


def module(*terms, **options):
    from unshaken.lightning import RegularizedModule

    torch.manual_seed(1)
    return RegularizedModule(mlp([6, 8, 3]), *terms, optimizer=SGD, lr=0.1, **options)


def fit(module, batches, folder, **options):
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **{"max_epochs": 2, **options},
    )
    trainer.fit(module, batches)
    return trainer


def test_a_trainer_does_what_a_loop_does(batch, tmp_path):
    found = module(VMT(fields.Shift()))
    objective = copy.deepcopy(found.objective)
    fit(found, DataLoader(TensorDataset(*batch), batch_size=6), tmp_path)
    optimizer = SGD(objective.parameter_groups(lr=0.1))
    for _ in range(2):
        for rows in (slice(0, 6), slice(6, 12)):
            optimizer.zero_grad()
            objective(batch[0][rows], batch[1][rows]).backward()
            optimizer.step()
    for got, want in zip(found.parameters(), objective.parameters(), strict=True):
        assert torch.equal(got, want)


def test_accumulated_batches_are_one_batch(batch, tmp_path):
    whole, parts = module(VMT(fields.Shift())), module(VMT(fields.Shift()))
    for found in (whole, parts):
        found.objective.model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    parts.objective.model.load_state_dict(whole.objective.model.state_dict())
    data = TensorDataset(*batch)
    fit(whole, DataLoader(data, batch_size=12), tmp_path)
    fit(parts, DataLoader(data, batch_size=6), tmp_path, accumulate_grad_batches=2)
    for got, want in zip(parts.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("form", ["tensor", "list", "nothing"])
def test_labeled_and_unlabeled_batches(batch, form):
    x, y = batch
    found = module(EntropyMinimization(0.5))
    expected = copy.deepcopy(found.objective)
    unlabeled = {"tensor": {"unlabeled": x + 1}, "list": {"unlabeled": [x + 1]}, "nothing": {}}[
        form
    ]
    found.log_dict = lambda *_, **__: None
    loss = found.training_step({"labeled": (x, y), **unlabeled}, 0)
    assert loss == expected(x, y, unlabeled=None if form == "nothing" else x + 1)


def test_a_mask_table_gets_its_indices(batch):
    x, y = batch
    found = module(XVAT(masks.Table(examples=12, size=(6,))))
    found.log_dict = lambda *_, **__: None
    found.training_step((x, y, torch.arange(12)), 0).backward()
    (table,) = found.objective.regularizers[0].parameters()
    assert table.grad is not None and table.grad.abs().sum() > 0
    groups = found.configure_optimizers().param_groups
    assert len(groups) == 2


def test_errors_are_measured(batch, tmp_path):
    found = module()
    trainer = fit(found, DataLoader(TensorDataset(*batch), batch_size=12), tmp_path)
    (measured,) = trainer.test(
        found, DataLoader(TensorDataset(*batch), batch_size=5), verbose=False
    )
    with torch.no_grad():
        outputs = found.eval()(batch[0])
    wrong = (outputs.argmax(1) != batch[1]).float().mean()
    assert measured["test_error"] == pytest.approx(100 * wrong.item(), abs=1e-4)
    assert measured["test_loss"] == pytest.approx(
        nn.functional.cross_entropy(outputs, batch[1]).item(), abs=1e-5
    )
    (predicted,) = trainer.predict(found, DataLoader(TensorDataset(*batch), batch_size=12))
    assert torch.equal(predicted, outputs)


def test_regression_has_no_error_in_per_cent(batch, tmp_path):
    data = DataLoader(TensorDataset(batch[0], torch.randn(12, 3)), batch_size=12)
    found = module(criterion=SquaredError(labeled=True))
    trainer = fit(found, data, tmp_path)
    (measured,) = trainer.test(found, data, verbose=False)
    assert set(measured) == {"test_loss"}


def test_a_schedule(batch, tmp_path):
    found = module(scheduler=functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1))
    trainer = fit(found, DataLoader(TensorDataset(*batch), batch_size=12), tmp_path)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.001)


def test_another_batch_is_one_sentence(batch):
    with pytest.raises(TypeError, match=r"a training batch must be \(x, y\).*got Tensor"):
        module().training_step(batch[0], 0)


def test_without_lightning(monkeypatch):
    monkeypatch.delitem(sys.modules, "unshaken.lightning", raising=False)
    for name in ("lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install \"unshaken\[lightning\]\""):
        importlib.import_module("unshaken.lightning")


def test_the_objective_itself_is_not_changed(batch):
    assert isinstance(module().objective, Objective)


def test_two_processes_do_what_one_does_with_the_whole_batch(tmp_path):
    from tests.lightning_processes import trained

    words = [
        "--standalone",
        "--nproc-per-node",
        "2",
        str(ROOT / "tests" / "lightning_processes.py"),
    ]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=True,
        timeout=300,
    )
    found = torch.load(tmp_path / "weights.pt", weights_only=True)
    for name, weight in trained(tmp_path).items():
        assert torch.allclose(found[name], weight, rtol=0, atol=1e-12), name
