"""What every method promises on a GPU: the CPU's numbers, and no wait inside a step."""

import copy
from contextlib import contextmanager

import pytest
import torch

from tests import networks
from tests.contracts import CONTRACTS, EXAMPLES, SHAPES
from unshaken import AT, VAT, XVAT, Objective, Regularizer, draws, masks
from unshaken.models import conv_small

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

WAITING = {"mvat", "mvat-many-fields"}
"""Methods whose small eigenproblem waits for the device: torch.linalg.eigh reads its status."""

SHOWN = [name for name in CONTRACTS if name not in ("entropy", "balance")]
EXACT = [name for name, contract in CONTRACTS.items() if not contract.draws]


@pytest.fixture(autouse=True)
def exact_products():
    """Without TF32, in which products on the GPU keep ten bits."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture(autouse=True)
def heard():
    """No verdict on the values of an earlier test is left to be reported in the next."""
    yield
    torch.cuda.synchronize()
    for _ in range(3):
        try:
            Objective(torch.nn.Linear(2, 2).cuda())(
                torch.zeros(1, 2, device="cuda"), torch.zeros(1, device="cuda", dtype=torch.long)
            )
        except ValueError:
            continue
        torch.cuda.synchronize()


@contextmanager
def no_wait():
    """Inside, everything that waits for the device is an error."""
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def objectives(name, kind, dtype):
    """The same objective and batch on the CPU and on the GPU."""
    shape = SHAPES[kind]
    model = (
        networks.mlp(shape) if len(shape) == 1 else networks.convolutional(shape[0], len(shape) - 1)
    )
    objective = Objective(model, CONTRACTS[name].make(shape)).to(dtype)
    x, y = networks.batch(shape, dtype=dtype)
    u = torch.randn(EXAMPLES, *shape, dtype=dtype)
    there = copy.deepcopy(objective).cuda()
    batch = {"x": x, "y": y, "unlabeled": u, "index": torch.arange(EXAMPLES)}
    return objective, batch, there, {key: value.cuda() for key, value in batch.items()}


def step(objective, batch):
    loss = objective(**batch)
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in objective.named_parameters()}


def setting(name, dropout=0.5):
    """A network with batch norm and dropout, a method and a batch on the GPU."""
    shape = (2, 8, 8)
    term = CONTRACTS[name].make(shape)
    objective = Objective(conv_small(2, 3, dropout), term).cuda()
    x, y = networks.batch(shape, dtype=torch.float32)
    u = torch.randn(EXAMPLES, *shape, device="cuda")
    index = torch.arange(EXAMPLES, device="cuda")
    return objective, {"x": x.cuda(), "y": y.cuda(), "unlabeled": u, "index": index}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["64", "32"])
@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, row in CONTRACTS.items() for kind in row.on]
)
def test_gradients_are_those_of_the_cpu(name, kind, dtype):
    """Methods that draw have other numbers on a GPU: theirs are finite and reach everything."""
    here, batch, there, moved = objectives(name, kind, dtype)
    loss, found = step(there, moved)
    assert loss.is_cuda and bool(torch.isfinite(loss))
    for parameter, gradient in found.items():
        assert gradient is not None and gradient.is_cuda, parameter
        assert bool(torch.isfinite(gradient).all()) and bool(gradient.any()), parameter
    if name in EXACT:
        expected_loss, expected = step(here, batch)
        tolerance = 1e-10 if dtype == torch.float64 else 2e-4
        assert float(loss) == pytest.approx(float(expected_loss), rel=tolerance)
        scale = max(float(g.abs().max()) for g in expected.values())
        for parameter, gradient in found.items():
            error = float((gradient.cpu() - expected[parameter]).abs().max())
            assert error <= tolerance * scale, parameter


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_step_waits_for_nothing(name):
    """After the first calls, which fill caches; the alarm's probe of the seventh is among them."""
    if name in WAITING:
        pytest.skip("torch.linalg.eigh waits for the device to read its status")
    objective, batch = setting(name)
    optimizer = torch.optim.SGD(objective.parameters(), 0.01)
    for _ in range(3):
        step(objective, batch)
    with no_wait():
        for _ in range(6):
            optimizer.zero_grad()
            loss, _ = step(objective, batch)
            optimizer.step()
    assert bool(torch.isfinite(loss))
    assert objective.alarm.calls == 9


@pytest.mark.parametrize("name", ["vat-difference", "vat-exact", "random", "xvat-table", "vmt-all"])
def test_draws_of_a_training_run_wait_for_nothing(name):
    objective, batch = setting(name)
    generator = torch.Generator("cuda")

    def once():
        generator.manual_seed(3)
        with draws.shared(generator):
            return step(objective, batch)[0]

    for _ in range(3):
        once()
    with no_wait():
        loss = once()
    assert bool(torch.isfinite(loss))


@pytest.mark.parametrize("name", CONTRACTS)
def test_under_bfloat16(name):
    objective, batch = setting(name)
    for _ in range(9):
        with torch.autocast("cuda", torch.bfloat16):
            loss, found = step(objective, batch)
    assert loss.dtype == torch.float32 and bool(torch.isfinite(loss))
    for parameter, gradient in found.items():
        assert gradient.dtype == torch.float32 and bool(torch.isfinite(gradient).all()), parameter


@pytest.mark.parametrize("name", SHOWN)
def test_the_worst_perturbation_stays_on_the_device(name):
    here, batch, there, _ = objectives(name, CONTRACTS[name].on[0], torch.float64)
    # The labeled batch, so that all have an example of the same number.
    (term,), (other,) = here.regularizers, there.regularizers
    assert isinstance(term, Regularizer)
    x, y, index = batch["x"], batch["y"] if term.labeled else None, torch.arange(4)
    worst = other.worst(there.model, x.cuda(), None if y is None else y.cuda(), index=index.cuda())
    assert worst.value.is_cuda and worst.perturbed.is_cuda
    assert worst.perturbed.shape == x.shape
    assert bool(torch.isfinite(worst.value).all() and torch.isfinite(worst.perturbed).all())
    if name in EXACT:
        expected = term.worst(here.model, x, y, index=index)
        torch.testing.assert_close(worst.value.cpu(), expected.value)
        torch.testing.assert_close(worst.perturbed.cpu(), expected.perturbed)


def broken(batch, key, value):
    """A batch of which one entry is bad."""
    bad = batch[key].clone()
    bad.view(-1)[0] = value
    return {**batch, key: bad}


@pytest.mark.parametrize(
    ("terms", "key", "value", "message"),
    [
        ((VAT(1.0), AT(1.0)), "x", float("nan"), r"x must hold finite values.*earlier batch"),
        ((), "x", float("inf"), r"x must hold finite values.*earlier batch"),
        ((VAT(1.0),), "unlabeled", float("nan"), r"unlabeled must hold finite.*earlier batch"),
        ((AT(1.0),), "y", 3, r"y must lie in 0\.\.2.*earlier batch"),
        ((), "y", -1, r"y must lie in 0\.\.2.*earlier batch"),
        ((XVAT(masks.Table(EXAMPLES, (8, 8))),), "index", 99, r"index must lie in 0\.\.7"),
    ],
    ids=["x", "x-plain", "unlabeled", "y", "y-plain", "index"],
)
def test_bad_values_are_reported_at_a_later_call(terms, key, value, message):
    """Without a wait, and without a kernel that faults and takes the whole process with it."""
    objective, batch = setting("entropy")
    objective = Objective(objective.model, *copy.deepcopy(terms)).cuda()
    for _ in range(3):
        step(objective, batch)
    bad = broken(batch, key, value)
    # Of several checks in one call a later one may already hear the verdict of the first.
    with pytest.raises(ValueError, match=message):
        with no_wait():
            step(objective, bad)
        torch.cuda.synchronize()
        objective(**batch)
    # Said once; the device is well and the objective works on.
    torch.cuda.synchronize()
    objective(**batch).backward()
    torch.cuda.synchronize()
