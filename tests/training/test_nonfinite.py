import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unshaken import Objective
from unshaken.adversaries.base import Penalty
from unshaken.regularizer import Term
from unshaken.training import NonFiniteError, latest, train
from unshaken.training.feed import Feed
from unshaken.training.meter import Meter

from .helpers import assert_same, config, network, noise, objective


class Poison(Term):
    """A term that becomes infinite in one call."""

    needs = "logits"

    def __init__(self, call: int) -> None:
        super().__init__(1.0, name="poison")
        self.left = call

    def penalize(self, clean):
        self.left -= 1
        logits = clean.attached_logits
        value = logits.square().mean(1)
        return Penalty(value / 0.0 if self.left == 0 else value, None, logits)


def named(indices, limit=10):
    """The first few, and how many more."""
    shown = [*map(str, indices.tolist()[:limit])]
    more = len(indices) - limit
    return f"[{', '.join([*shown, f'... {more} more'] if more > 0 else shown)}]"


def test_it_stops_and_names_step_term_and_batch(tmp_path):
    data, split = noise()
    model = network()
    broken = Objective(model, Poison(call=13), alarm=False)
    settings = config(checkpoint_every=5)
    with pytest.raises(NonFiniteError) as error:
        train(broken, data, split, settings, out=tmp_path, device="cpu")
    feed = Feed(data, split, settings, torch.device("cpu"))
    labeled, unlabeled = feed.indices(12)
    assert error.value.step == 12
    assert error.value.terms == ("poison=inf",)
    assert error.value.labeled == tuple(labeled.tolist())
    assert error.value.unlabeled == tuple(unlabeled.tolist())
    kept = tmp_path / "checkpoints/step-00000010.pt"
    assert error.value.checkpoint == kept
    assert str(error.value) == (
        f"the loss became NaN or infinite at step 12: poison=inf; labeled batch: "
        f"{named(labeled)}; unlabeled batch: {named(unlabeled)}; "
        f"the last good state is {kept}"
    )
    # The bad loss did not reach the weights.
    assert all(p.isfinite().all() for p in model.parameters())


def test_the_accumulated_batch_is_the_one_named(tmp_path):
    data, split = noise()
    settings = config(accumulate=3)
    with pytest.raises(NonFiniteError, match="no checkpoint was kept") as error:
        train(Objective(network(), Poison(call=8), alarm=False), data, split, settings)
    assert error.value.step == 2
    labeled, _ = Feed(data, split, settings, torch.device("cpu")).indices(2, micro=1)
    assert error.value.labeled == tuple(labeled.tolist())


def test_a_loss_without_terms_is_named_loss():
    data, split = noise()

    def overflowing(outputs, y):
        return F.cross_entropy(outputs, y, reduction="none") * 1e38 * 1e38

    with pytest.raises(NonFiniteError, match=r"at step 0: loss=inf"):
        train(Objective(network(), criterion=overflowing, alarm=False), data, split, config())


class Fragile(nn.Module):
    """Its gradient becomes NaN while the loss is finite: the square root at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.body(x) + 0.0 * self.scale.abs().sqrt()


def test_a_state_that_is_not_finite_is_never_kept(tmp_path):
    data, split = noise()
    with pytest.raises(NonFiniteError, match="a weight became NaN or infinite at step 1") as error:
        train(
            Objective(Fragile(), alarm=False),
            data,
            split,
            config(checkpoint_every=1),
            out=tmp_path,
        )
    assert error.value.terms == ("model.scale",)
    assert latest(tmp_path / "checkpoints") is None


def test_on_a_device_values_are_read_late_and_all_the_same():
    immediate, late = Meter(torch.device("cpu")), Meter(torch.device("meta"), window=5)
    for step in range(12):
        loss = torch.tensor(1.0 + step)
        report = {"loss": loss, "vat": torch.tensor(0.1 * step)}
        if step == 8:
            report["vat"] = torch.tensor(float("nan"))
        found = [meter.add(step, 0, loss, report) for meter in (immediate, late)]
        assert (found[0] is not None) == (step >= 8)
        assert (found[1] is not None) == (step >= 9)  # at the end of its window of five
    assert immediate.settle() == late.settle()
    assert late.settle().step == 8
    assert_same(immediate.state_dict()["counts"], late.state_dict()["counts"])
    assert late.means()["loss"] == immediate.means()["loss"] == 6.5


def test_finite_runs_are_left_alone():
    data, split = noise()
    result = train(objective(), data, split, config())
    assert result.steps == 20
