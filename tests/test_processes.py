"""Two processes with half a batch each give one process's gradients."""

from datetime import timedelta

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.distributed.fsdp import fully_shard

import unshaken.objective
from tests import networks
from unshaken import (
    AT,
    VAT,
    VMT,
    XVAT,
    EntropyMinimization,
    Objective,
    Regularizer,
    TemporalEnsembling,
    fields,
    masks,
)
from unshaken.adversaries import Infinitesimal
from unshaken.divergences import CrossEntropy
from unshaken.perturbations import Additive

SHAPE = (1, 4, 6)


def objective(name):
    torch.manual_seed(3)
    terms = {
        "at": lambda: [AT(0.3)],
        "vat": lambda: [VAT(0.3)],
        "vmt and at": lambda: [VMT(fields.Shift()), AT(0.3)],
        "xvat and entropy": lambda: [XVAT(masks.Generator(1)), EntropyMinimization()],
    }[name]()
    return Objective(networks.convolutional(1, 2), *terms).double()


NAMES = ["at", "vat", "vmt and at", "xvat and entropy"]


def half(rank):
    torch.manual_seed(5)
    x, y = networks.batch(SHAPE, 8)
    return x[4 * rank : 4 * rank + 4], y[4 * rank : 4 * rank + 4]


def slopes(module, rank):
    """From a random state of its own for each half, so that one process can repeat both."""
    x, y = half(rank)
    torch.manual_seed(100 + rank)
    (2 * module(x, y)).backward()
    return [p.grad.clone() for p in module.parameters()]


def work(rank, port_file, out, few):
    torch.set_num_threads(1)
    unshaken.objective.FEW = few
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{port_file}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    try:
        found = {}
        for name in NAMES:
            wrapped = nn.parallel.DistributedDataParallel(objective(name))
            found[name] = slopes(wrapped, rank)
        torch.save(found, f"{out}-{rank}.pt")
        if few == 0:
            torch.save(remembered(rank), f"{out}-remembered-{rank}.pt")
            torch.save([sharded(rank, take) for take in (True, False)], f"{out}-sharded-{rank}.pt")
    finally:
        distributed.destroy_process_group()


def remembered(rank):
    """What terms remember after two visits of each process's own examples, unlike in number."""
    model = networks.convolutional(1, 2)
    x, y = networks.batch(SHAPE, 8, dtype=torch.float32)
    rows = torch.arange(5) if rank == 0 else torch.arange(5, 8)
    terms = [TemporalEnsembling(8, 3), AT(0.3, remember=(8, *SHAPE))]
    found = []
    for term in terms:
        wrapped = nn.parallel.DistributedDataParallel(Objective(model, term))
        for _ in range(2):
            wrapped(x[rows], y[rows], index=rows).backward()
        wrapped(x[rows], y[rows], index=rows)  # buffers are those of the first process now
        found.append(dict(term.named_buffers()))
    return found


def sharded(rank, take):
    """Gradients of two steps of a model whose parameters are spread over the processes (FSDP)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 300), nn.Tanh(), nn.Linear(300, 300), nn.Linear(300, 3))
    mesh = distributed.device_mesh.init_device_mesh("cpu", (2,))
    fully_shard(model[2], mesh=mesh)
    fully_shard(model, mesh=mesh)
    made = Objective(model, AT(1.0), take_gradients=take)
    rate = Regularizer(Additive(2), Infinitesimal(), CrossEntropy())
    found = []
    for _ in range(2):
        model.zero_grad()
        x, y = torch.randn(4, 24), torch.arange(4) % 3
        made(x, y).backward()
        found.append(model[2].weight.grad.full_tensor())
    with pytest.raises(RuntimeError, match="parameters are sharded"):
        Objective(model, rate, take_gradients=take)(torch.randn(4, 24), y)
    return found


@pytest.mark.parametrize("few", [0, 1 << 16], ids=["taken", "left to the caller"])
def test_two_processes_have_the_gradient_of_one(tmp_path, few):
    multiprocessing.spawn(work, (str(tmp_path / "store"), str(tmp_path / "out"), few), nprocs=2)
    for name in NAMES:
        each = []
        for rank in (0, 1):
            module = objective(name)
            each.append(slopes(module, rank))
        expected = [(a + b) / 2 for a, b in zip(*each, strict=True)]
        for rank in (0, 1):
            found = torch.load(tmp_path / f"out-{rank}.pt", weights_only=True)[name]
            networks.assert_same(found, expected, 1e-14)
    if few:
        return
    each = []
    for rank in (0, 1):
        taken, left = torch.load(tmp_path / f"out-sharded-{rank}.pt", weights_only=True)
        networks.assert_same(taken, left)
        each.append(torch.load(tmp_path / f"out-remembered-{rank}.pt", weights_only=True))
    for one, other in zip(*each, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    ensemble, adversary = each[0]
    assert ensemble["visits"].tolist() == [3] * 8
    for table in (ensemble["table"], adversary["adversary.table"]):
        assert bool(table.flatten(1).any(1).all())  # of the second process's examples as well
