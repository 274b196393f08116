"""Extra passes leave no trace: statistics, flags, gradients, hooks and random numbers."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests import networks
from tests.contracts import CONTRACTS, SHAPES, call
from unshaken import AT, MVAT, VAT, VMT, XVAT, Objective, Random, fields, masks
from unshaken.perturbations import Additive

SHAPE = SHAPES["image"]
NAMES = [name for name in CONTRACTS if "image" in CONTRACTS[name].on]
POLICIES = ["batch", "running", "update"]
_SOME_MODEL: nn.Module | None = None
"""A test's own, for a function that names a global."""


class Net(nn.Module):
    """Batch norm, dropout, a frozen layer, a part in eval mode; raises in a pass of its choice."""

    def __init__(self, dropout=0.5):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.BatchNorm2d(4, momentum=None),
            nn.Tanh(),
            nn.Conv2d(4, 4, 1),
            nn.BatchNorm2d(4).eval(),
            nn.Flatten(),
        )
        self.head = nn.Linear(4 * 35, 3)
        self.body[4].requires_grad_(False)
        self.passes = 0
        self.fails_at = 0

    def forward(self, x):
        self.passes += 1
        if self.passes == self.fails_at:
            raise RuntimeError("inside the model")
        return self.head(self.body(x))


def net(dropout=0.5):
    model = Net(dropout).double()
    model.body[8].running_mean += 0.1
    with torch.no_grad():
        model(torch.randn(8, *SHAPE, dtype=torch.float64))
    for p in model.parameters():
        if p.requires_grad:
            p.grad = torch.full_like(p, 0.5)
    model.passes = 0
    return model


def trace(model):
    """Everything of a model that a regularizer could touch."""
    found = {f"buffer {name}": b.clone() for name, b in model.named_buffers()}
    for name, p in model.named_parameters():
        found[f"parameter {name}"] = p.detach().clone()
        found[f"requires {name}"] = p.requires_grad
        found[f"grad {name}"] = None if p.grad is None else p.grad.clone()
    for name, m in model.named_modules():
        hooks = (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)
        found[f"training {name}"] = m.training
        found[f"statistics {name}"] = getattr(m, "track_running_stats", None)
        found[f"hooks {name}"] = [len(h) for h in hooks]
    return found


def assert_untouched(before, after, buffers=True):
    assert before.keys() == after.keys()
    for key, value in before.items():
        if key.startswith("buffer") and not buffers:
            continue
        found = after[key]
        assert torch.equal(value, found) if isinstance(value, Tensor) else value == found, key


@pytest.mark.parametrize("how", ["call", "no_grad", "worst"])
@pytest.mark.parametrize("name", NAMES)
def test_a_term_leaves_no_trace(name, how):
    model = net()
    term = CONTRACTS[name].make(SHAPE).double()
    x, y = networks.batch(SHAPE)
    before, inputs = trace(model), x.clone()
    if how == "call":
        call(term, model, x, y)
    elif how == "no_grad":
        with torch.no_grad():
            call(term, model, x, y)
    elif hasattr(term, "worst"):
        term.worst(model, x, y if term.labeled else None, index=torch.arange(4))
    # The pass of a term that stands in for the loss is the training pass itself.
    assert_untouched(before, trace(model), buffers=how != "call" or not term.replaces)
    assert torch.equal(x, inputs) and not x.requires_grad and x.grad is None
    assert torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("name", NAMES)
def test_an_objective_moves_statistics_by_the_callers_own_pass_only(name):
    model = net(0.0)
    plain = copy.deepcopy(model)
    x, y = networks.batch(SHAPE)
    u, _ = networks.batch(SHAPE, count=6)
    term = CONTRACTS[name].make(SHAPE).double()
    seen = []
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    before = trace(model)
    Objective(model, term)(x, y, unlabeled=u, index=torch.arange(6), labeled_index=torch.arange(4))
    after = trace(model)
    # Where a term stands in for the loss, the perturbed input is what the network trains on.
    plain(seen[0] if term.replaces else x)
    expected = trace(plain)
    assert_untouched(before, after, buffers=False)
    for key, value in expected.items():
        if key.startswith("buffer"):
            assert torch.equal(value, after[key]), key


@pytest.mark.parametrize("fails_at", [1, 2, 3])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", [AT, VAT], ids=["at", "vat"])
def test_everything_is_restored_when_the_model_raises(make, policy, fails_at):
    model = net()
    x, y = networks.batch(SHAPE)
    term = make(0.5, batch_norm=policy)
    before = trace(model)
    model.fails_at = fails_at
    if make is AT and fails_at == 3:
        term(model, x, y)
    else:
        with pytest.raises(RuntimeError, match="inside the model"):
            term(model, x, y if term.labeled else None)
    assert_untouched(before, trace(model), buffers=policy != "update")
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("fails_at", [2, 3])
def test_an_objective_restores_everything_when_a_perturbed_pass_raises(fails_at):
    model = net()
    x, y = networks.batch(SHAPE)
    before = trace(model)
    model.fails_at = fails_at
    with pytest.raises(RuntimeError, match="inside the model"):
        Objective(model, VAT(0.5))(x, y)
    assert_untouched(before, trace(model), buffers=False)
    model.fails_at = 0
    Objective(model, VAT(0.5))(x, y).backward()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["at", "vat", "vmt", "random"])
def test_policies_of_a_terms_passes(name, policy):
    term = {
        "at": lambda: AT(0.3, batch_norm=policy),
        "vat": lambda: VAT(0.3, batch_norm=policy),
        "vmt": lambda: VMT(fields.Shift(), batch_norm=policy),
        "random": lambda: Random(Additive(2), 0.3, batch_norm=policy),
    }[name]()
    model = net(0.0)
    x, y = networks.batch(SHAPE)
    before = trace(model)
    term(model, x, y if term.labeled else None)
    after = trace(model)
    assert_untouched(before, after, buffers=False)
    changed = [k for k in before if k.startswith("buffer") and not torch.equal(before[k], after[k])]
    assert bool(changed) is (policy == "update")
    assert not any("body.8" in key for key in changed)
    assert f"batch_norm={policy!r}" in repr(term) or policy == "batch"


def test_policies_normalize_with_what_they_say():
    """AT of radius 0 is the loss itself, under batch statistics or under the running ones."""
    model = net(0.0)
    x, y = networks.batch(SHAPE)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        batch = F.cross_entropy(twin(x), y)
    twin = copy.deepcopy(model).eval()
    with torch.no_grad():
        running = F.cross_entropy(twin(x), y)
    assert float(batch) != pytest.approx(float(running), rel=1e-3)
    for policy, expected in (("batch", batch), ("running", running)):
        torch.testing.assert_close(AT(0.0, batch_norm=policy)(model, x, y).detach(), expected)


@pytest.mark.parametrize("name", [n for n in NAMES if not CONTRACTS[n].draws])
def test_random_numbers_are_drawn_by_one_clean_pass_only(name):
    """With dropout: after the term the generator stands where one pass of the model leaves it."""
    model = net()
    x, y = networks.batch(SHAPE)
    term = CONTRACTS[name].make(SHAPE).double()
    torch.manual_seed(1)
    copy.deepcopy(model)(x)
    expected = torch.get_rng_state()
    torch.manual_seed(1)
    term(model, x, y if term.labeled else None)
    assert torch.equal(torch.get_rng_state(), expected)
    torch.manual_seed(1)
    Objective(model, term)(x, y)
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize("in_objective", [False, True], ids=["alone", "objective"])
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_dropout_draws_the_same_masks_in_every_pass(in_objective, autocast):
    """The divergence of an unperturbed pass is exactly 0."""
    model = net().float()
    x, y = networks.batch(SHAPE, dtype=torch.float32)
    for term in (VAT(0.0), VAT(0.0, direction="exact"), Random(Additive(2), 0.0)):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            if in_objective:
                objective = Objective(model, term)
                objective(x, y, unlabeled=x.clone())
                value = objective.report[term.name]
            else:
                value = term(model, x)
        assert float(value.detach()) == 0.0


def test_dropout_masks_differ_between_calls():
    model = net()
    x, y = networks.batch(SHAPE)
    at = AT(0.0)
    assert len({float(at(model, x, y).detach()) for _ in range(4)}) == 4


def test_outputs_without_an_input_gradient_are_named():
    model = networks.mlp((6,)).double()
    x, y = networks.batch((6,))
    for term in (AT(1.0), VMT(fields.Shift())):
        shaped = x.reshape(4, 1, 6) if term.name == "vmt" else x
        with pytest.raises(ValueError, match=r"model gives outputs that do not depend on x"):
            term(lambda z: model(z).detach(), shaped, y)
        with pytest.raises(ValueError, match=r"model gives outputs that do not depend on x"):
            term(lambda z: model((z > 0).to(z)), shaped, y)


def test_logits_of_another_batch_are_refused():
    model = networks.mlp((6,)).double()
    x, _ = networks.batch((6,))
    with pytest.raises(
        ValueError, match=r"logits must hold .* 4 examples of x, got shape \(3, 3\)"
    ):
        VAT(1.0)(model, x, logits=model(x[:3]))


def test_any_callable_is_a_model():
    model = networks.mlp((6,)).double()
    x, y = networks.batch((6,))
    torch.testing.assert_close(AT(0.3)(lambda z: model(z), x, y), AT(0.3)(model, x, y))
    with pytest.raises(TypeError, match=r"model must be callable, got str"):
        AT(0.3)("model", x, y)


def test_attention_can_be_differentiated_twice():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            tokens = x.transpose(1, 2)
            mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
            return self.head(mixed.mean(1))

    model = Attention()
    x, y = torch.randn(4, 4, 9), torch.arange(4) % 3
    for loss in (
        VMT(fields.Shift())(model, x, y),
        Objective(model, VMT(fields.Shift()), AT(0.1))(x, y),
        VAT(0.1)(model, x),
    ):
        loss.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())


@pytest.mark.parametrize(
    "make",
    [
        lambda: VAT(0.3),
        lambda: VAT(0.3, direction="exact"),
        lambda: MVAT(fields.Affine(), radius=0.5),
        lambda: XVAT(masks.Steepest(0.5)),
    ],
    ids=["vat", "vat-exact", "mvat", "xvat-steepest"],
)
def test_label_free_terms_name_outputs_without_an_input_gradient(make):
    model = networks.convolutional(2, 2).double()
    x, _ = networks.batch(SHAPE)
    with pytest.raises(ValueError, match=r"model gives outputs that do not depend on x"):
        make()(lambda z: model(z).detach(), x)
    with pytest.raises(ValueError, match=r"model gives outputs that do not depend on x"):
        make()(lambda z: model((z > 0).to(z)), x)


@pytest.mark.parametrize("how", ["function", "partial", "method", "nested", "global", "object"])
def test_a_callable_around_a_model_leaves_no_trace_either(how, monkeypatch):
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    x = torch.randn(16, 6) + 3

    class Holder:
        def __init__(self, inner):
            self.parts = {"inner": inner}

        def run(self, x):
            return self.parts["inner"](x)

        __call__ = run

    def nested(x):
        return around(x)

    def around(x):
        return model(x)

    monkeypatch.setitem(globals(), "_SOME_MODEL", model)
    given = {
        "function": lambda x: model(x),
        "partial": partial(lambda inner, x: inner(x), model),
        "method": Holder(model).run,
        "nested": nested,
        "global": lambda x: _SOME_MODEL(x),
        "object": Holder(model),
    }[how]
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(1)
    value = VAT(1.0)(given, x)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    torch.manual_seed(1)
    torch.testing.assert_close(value, VAT(1.0)(model, x))


@pytest.mark.parametrize("new", [True, False])
def test_spectral_normalization_is_the_same_in_every_pass(new):
    torch.manual_seed(3)
    normed = torch.nn.utils.parametrizations.spectral_norm if new else nn.utils.spectral_norm
    model = nn.Sequential(normed(nn.Linear(6, 8)), nn.Tanh(), normed(nn.Linear(8, 3)))
    x = torch.randn(16, 6)
    before = copy.deepcopy(model.state_dict())
    worst = {}
    for direction in ("difference", "exact"):
        torch.manual_seed(1)
        worst[direction] = VAT(1.0, direction=direction).worst(model, x).parameters.flatten(1)
    assert F.cosine_similarity(*worst.values()).min() > 0.99
    assert VAT(0.0)(model, x).abs() < 1e-6
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(m.training for m in model.modules())
    # The caller's own pass moves them as ever.
    Objective(model, VAT(1.0))(x, torch.zeros(16, dtype=torch.long))
    assert any(not torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("kind", [dict, tuple])
def test_outputs_that_are_no_tensor_are_named(kind):
    model = nn.Linear(6, 3)
    x, y = torch.randn(4, 6), torch.tensor([0, 1, 2, 0])

    class Named(nn.Module):
        def forward(self, x):
            return {"logits": model(x)} if kind is dict else (model(x), None)

    sentence = f"must return one tensor .*got {kind.__name__}; give a function that picks it"
    for term in (AT(1.0), VAT(1.0), Random(Additive(2), 1.0)):
        with pytest.raises(TypeError, match=sentence):
            term(Named(), x, y)
    with pytest.raises(TypeError, match=sentence):
        Objective(Named(), VAT(1.0))(x, y)
    picked = "logits" if kind is dict else 0
    assert VAT(1.0)(lambda x: Named()(x)[picked], x) > 0


class Checkpointed(nn.Module):
    """A block whose activations are computed again on the way back."""

    def __init__(self, norm, on):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), norm, nn.Tanh())
        self.head = nn.Linear(4, 3)
        self.on = on

    def forward(self, x):
        h = self.first(x)
        h = checkpoint(self.block, h, use_reentrant=False) if self.on else self.block(h)
        return self.head(h.mean((2, 3)))


@pytest.mark.parametrize("few", [0, 1 << 16])
@pytest.mark.parametrize(
    ("norm", "options"),
    [(nn.GroupNorm(2, 4), {}), (nn.BatchNorm2d(4), {"batch_norm": "update"})],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda **o: AT(0.5, **o),
        lambda **o: VAT(0.5, **o),
        lambda **o: VMT(fields.Shift(), **o),
        lambda **o: MVAT(fields.Shift(), radius=1.0, **o),
        lambda **o: XVAT(masks.Steepest(0.5), **o),
    ],
    ids=["at", "vat", "vmt", "mvat", "xvat"],
)
def test_activation_checkpointing(make, norm, options, few, monkeypatch):
    monkeypatch.setattr("unshaken.objective.FEW", few)
    plain = Checkpointed(copy.deepcopy(norm), False).double()
    saving = copy.deepcopy(plain)
    saving.on = True
    for model in (plain, saving):
        torch.manual_seed(0)
        Objective(model, make(**options))(*networks.batch(SHAPE)).backward()
    for p, q in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad)


def test_batch_norm_in_a_checkpoint_is_told_what_to_do():
    objective = Objective(Checkpointed(nn.BatchNorm2d(4), True).double(), AT(0.5))
    with pytest.raises(RuntimeError, match="give the terms batch_norm='update'"):
        objective(*networks.batch(SHAPE))
