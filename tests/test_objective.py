"""The whole objective is the sum of its terms: the same numbers with less work."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests import networks
from tests.contracts import CONTRACTS, SEED, SHAPES, in_order, supervised, tolerance
from unshaken import (
    AT,
    VAT,
    VMT,
    XAT,
    XVAT,
    ClassBalance,
    EntropyMinimization,
    Objective,
    fields,
    masks,
)
from unshaken.divergences import CrossEntropy, SquaredError
from unshaken.gradients import Taken

SHAPE = SHAPES["image"]
INDEX = torch.tensor([5, 0, 7, 2])
COMBINATIONS = [
    ("at-l2", "vmt-shift"),
    ("vmt-shift", "at-l2"),
    ("at-l2", "entropy"),
    ("vmt-all", "entropy", "balance"),
    ("at-linf", "mat", "vmt-unit"),
    ("vat-difference", "vat-exact", "random"),
    ("xat-generator", "xvat-table"),
    ("entropy", "balance"),
    ("mat", "mvat", "at-l2"),
    ("xat-steepest", "xvat-steepest", "at-l2"),
    tuple(name for name, contract in CONTRACTS.items() if "image" in contract.on),
]
SETS = [pytest.param((name,), id=name) for name in CONTRACTS if "image" in CONTRACTS[name].on] + [
    pytest.param(names, id="+".join(names) if len(names) < 5 else "everything")
    for names in COMBINATIONS
]


def build(kind="convolutional"):
    if kind == "convolutional":
        return networks.convolutional(2, 2).double()
    model = networks.normalized(SHAPE).double()
    with torch.no_grad():
        model(torch.randn(16, *SHAPE, dtype=torch.float64))
    return model


def make(names):
    return [CONTRACTS[name].make(SHAPE).double() for name in names]


def standalone(model, terms, x, y, u=None):
    """The sum of what the terms give on their own, drawing in the same order."""
    torch.manual_seed(SEED)
    total = supervised(terms, model, x, y)
    for term in in_order(terms, u is not None):
        free = u is not None and not term.labeled
        total = total + term(
            model, u if free else x, y if term.labeled else None, index=INDEX[: len(x)]
        )
    return total


def joint(model, terms, x, y, u=None):
    objective = Objective(model, *terms)
    torch.manual_seed(SEED)
    return objective(x, y, unlabeled=u, index=INDEX, labeled_index=INDEX), objective


def all_gradients(value, model, terms):
    value.backward()
    found = []
    for part in (model, *terms):
        for p in part.parameters():
            found.append(torch.zeros_like(p) if p.grad is None else p.grad.clone())
            p.grad = None
    return found


@pytest.mark.parametrize("kind", ["convolutional", "normalized"])
@pytest.mark.parametrize("names", SETS)
def test_equals_the_sum_of_standalone_terms(names, kind):
    """Values and every gradient, the adversaries' own included, with batch norm in train mode."""
    model, terms = build(kind), make(names)
    x, y = networks.batch(SHAPE)
    twin, copies = copy.deepcopy(model), copy.deepcopy(terms)
    total = standalone(twin, copies, x, y)
    slopes = all_gradients(total, twin, copies)
    found, _ = joint(model, terms, x, y)
    close = tolerance(terms)
    torch.testing.assert_close(found, total, rtol=close, atol=0)
    networks.assert_same(all_gradients(found, model, terms), slopes, close)


@pytest.mark.parametrize("names", SETS)
def test_semi_supervised(names):
    """Terms that need no labels use the unlabeled batch, the others the labeled one."""
    model, terms = build("normalized"), make(names)
    x, y = networks.batch(SHAPE)
    u, _ = networks.batch(SHAPE)
    twin, copies = copy.deepcopy(model), copy.deepcopy(terms)
    total = standalone(twin, copies, x, y, u)
    slopes = all_gradients(total, twin, copies)
    found, _ = joint(model, terms, x, y, u)
    close = tolerance(terms)
    torch.testing.assert_close(found, total, rtol=close, atol=0)
    networks.assert_same(all_gradients(found, model, terms), slopes, close)


def test_batches_of_different_length():
    model, terms = build("normalized"), [VAT(0.5), AT(0.3), EntropyMinimization()]
    x, y = networks.batch(SHAPE)
    u, _ = networks.batch(SHAPE, count=7)
    found, objective = joint(model, terms, x, y, u)
    torch.manual_seed(SEED)
    torch.testing.assert_close(
        objective.report["vat"], VAT(0.5)(model, u).detach(), rtol=1e-9, atol=0
    )
    assert bool(torch.isfinite(found))


def test_each_table_receives_the_indices_of_its_own_batch():
    """A labeled term's rows are labeled_index where there is an unlabeled batch, else index."""
    model = build()
    x, y = networks.batch(SHAPE)
    u, _ = networks.batch(SHAPE)
    xat, xvat = XAT(masks.Table(8, SHAPE[1:])).double(), XVAT(masks.Table(8, SHAPE[1:])).double()
    objective = Objective(model, xat, xvat)
    first, second = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 5, 6, 7])

    def touched():
        found = [t.adversary.table.grad.any(1).nonzero().flatten().tolist() for t in (xat, xvat)]
        objective.zero_grad()
        return found

    objective(x, y, unlabeled=u, index=second, labeled_index=first).backward()
    assert touched() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    objective(x, y, index=second).backward()
    assert touched() == [[4, 5, 6, 7], [4, 5, 6, 7]]


def test_without_regularizers_it_is_the_loss():
    model = build()
    x, y = networks.batch(SHAPE)
    found, objective = joint(model, [], x, y)
    torch.testing.assert_close(found, F.cross_entropy(model(x), y))
    assert list(objective.report) == ["loss"]


@pytest.mark.parametrize("names", [("vat-difference",), ("entropy", "balance"), ("mvat",)])
def test_without_labels_the_loss_is_left_out(names):
    model, terms = build(), make(names)
    x, y = networks.batch(SHAPE)
    with_labels = standalone(model, terms, x, y) - F.cross_entropy(model(x), y)
    found, objective = joint(model, terms, x, None)
    torch.testing.assert_close(found, with_labels, rtol=1e-9, atol=1e-12)
    assert set(objective.report) == {"loss", *(term.name for term in terms)}


def test_a_missing_label_is_named():
    x, _ = networks.batch(SHAPE)
    with pytest.raises(ValueError, match=r"CrossEntropy needs labels, got y=None"):
        Objective(build(), AT(1.0))(x)


SMOOTHED = nn.CrossEntropyLoss(label_smoothing=0.2, reduction="none")


@pytest.mark.parametrize("names", [("at-l2",), ("vmt-shift",), ("vat-difference", "mat")])
def test_another_criterion_leaves_the_terms_alone(names):
    model, terms = build(), make(names)
    x, y = networks.batch(SHAPE)
    objective = Objective(model, *terms, criterion=SMOOTHED)
    torch.manual_seed(SEED)
    found = objective(x, y)
    expected = (
        standalone(model, terms, x, y) - F.cross_entropy(model(x), y) + SMOOTHED(model(x), y).mean()
    )
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    networks.assert_same(
        networks.gradients(found, model), networks.gradients(expected, model), 1e-9
    )


def test_regression():
    model = networks.mlp((6,), classes=1).double()
    x, _ = networks.batch((6,))
    y = torch.randn(4, 1, dtype=torch.float64)
    found = Objective(model, criterion=SquaredError(labeled=True))(x, y)
    torch.testing.assert_close(found, F.mse_loss(model(x), y))


def test_dense_labels():
    model = networks.dense().double()
    x, _ = networks.batch((1, 4, 5))
    y = torch.randint(0, 3, (4, 4, 5))
    terms = [AT(0.3), VAT(0.3), VMT(fields.Shift()), EntropyMinimization(), ClassBalance()]
    found, _ = joint(model, terms, x, y)
    expected = standalone(model, terms, x, y)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    networks.assert_same(networks.gradients(found, model), networks.gradients(expected, model))


@pytest.mark.parametrize("few", [0, 1 << 16])
@pytest.mark.parametrize(
    "options", [{}, {"weight": torch.tensor([0.5, 2.0, 1.0])}, {"ignore_index": 255}]
)
def test_labels_that_count_differently(options, few, monkeypatch):
    """As of a segmentation with a border that has no label, and rare classes."""
    monkeypatch.setattr("unshaken.objective.FEW", few)
    model, loss = networks.dense().double(), nn.CrossEntropyLoss(**options).double()
    x, _ = networks.batch((1, 4, 5))
    y = torch.randint(0, 3, (4, 4, 5))
    y[:, 0], y[1] = loss.ignore_index, loss.ignore_index
    terms = [AT(0.3, divergence=loss), VMT(fields.Shift(), divergence=loss), VAT(0.3)]
    torch.manual_seed(SEED)
    found = Objective(model, *terms, criterion=loss)(x, y)
    torch.manual_seed(SEED)
    expected = loss(model(x), y) + sum(
        term(model, x, y if term.labeled else None) for term in in_order(terms, False)
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    networks.assert_same(networks.gradients(found, model), networks.gradients(expected, model))
    at = AT(0.3, divergence=loss).worst(model, x, y).value
    assert float(at[1]) == 0 < float(at[0])  # without labels there is nothing to gain


def test_the_report_holds_the_loss_and_each_weighted_term():
    model, terms = build(), make(("at-l2", "vat-difference", "entropy", "xvat-table"))
    x, y = networks.batch(SHAPE)
    found, objective = joint(model, terms, x, y)
    assert list(objective.report) == ["loss", "at", "vat", "entropy", "xvat"]
    assert all(v.shape == () and not v.requires_grad for v in objective.report.values())
    torch.testing.assert_close(objective.report["loss"], found.detach())
    terms_sum = sum(v for name, v in objective.report.items() if name != "loss")
    torch.testing.assert_close(
        objective.report["loss"], F.cross_entropy(model(x), y).detach() + terms_sum
    )
    torch.testing.assert_close(
        objective.report["entropy"], EntropyMinimization(0.5)(model, x).detach()
    )


def test_terms_of_one_name_are_told_apart():
    objective = Objective(
        build(), VAT(0.1), VAT(1.0), VAT(2.0), AT(1.0, name="loss"), AT(1.0, name="mine")
    )
    x, y = networks.batch(SHAPE)
    objective(x, y)
    assert list(objective.report) == ["loss", "vat", "vat-2", "vat-3", "loss-2", "mine"]
    assert objective.report["vat"] < objective.report["vat-2"] < objective.report["vat-3"]


def test_parameter_groups_give_each_player_its_rate():
    model, terms = build(), make(("xvat-table", "xat-generator", "at-l2"))
    objective = Objective(model, *terms)
    groups = objective.parameter_groups(0.1, weight_decay=0.5)
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(0.1, 0.5), (1e-3, 0.0), (1e-6, 0.0)]
    listed = [p for group in groups for p in group["params"]]
    assert len(listed) == len(set(listed)) == len(list(objective.parameters()))
    torch.optim.AdamW(groups)


MISTAKES = {
    "function": (
        lambda: Objective(len),
        TypeError,
        r"model must be a torch\.nn\.Module, got builtin",
    ),
    "name": (lambda: Objective(build(), "vat"), TypeError, "regularizers must be .*got str"),
    "layer": (lambda: Objective(build(), nn.ReLU()), TypeError, r"regularizers must .*got ReLU"),
    "policy": (
        lambda: Objective(build(), batch_norm="eval"),
        ValueError,
        r"batch_norm must be one of 'batch', 'running', 'update'; got 'eval'",
    ),
    "criterion": (
        lambda: Objective(build(), criterion=SquaredError()),
        ValueError,
        r"criterion must compare with labels",
    ),
}


def test_a_criterions_own_parameters_are_trained():
    """Once, also where a term has the same."""

    class Tempered(CrossEntropy):
        def __init__(self):
            super().__init__()
            self.temperature = nn.Parameter(torch.ones(()))

        def forward(self, logits, target):
            return super().forward(logits / self.temperature, target)

    tempered, (x, y) = Tempered(), networks.batch(SHAPE)
    objective = Objective(build(), AT(0.5, divergence=tempered), criterion=tempered).double()
    torch.optim.SGD(objective.parameter_groups(0.1))
    (group,) = objective.parameter_groups(0.1)
    assert any(p is tempered.temperature for p in group["params"])
    objective(x, y).backward()
    assert tempered.temperature.grad.abs() > 0


def test_a_divergence_of_ones_own_keeps_its_gradient_apart():
    """A class made from the cross-entropy is not the cross-entropy."""

    class Focal(CrossEntropy):
        def forward(self, logits, target):
            values = super().forward(logits, target)
            return (1 - (-values).exp()).square() * values

    model, (x, y) = build(), networks.batch(SHAPE)
    terms = [AT(0.5), AT(0.5, divergence=Focal(), name="focal")]
    terms += [VMT(fields.Shift()), VMT(fields.Shift(), divergence=Focal(), name="vmt-focal")]
    objective = Objective(model, *terms)
    objective(x, y)
    for name, term in zip(objective.names, terms, strict=True):
        torch.testing.assert_close(objective.report[name], term(model, x, y).detach())


@pytest.mark.parametrize(("make", "error", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_meaningless_objectives_are_refused(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


def test_a_reducing_criterion_is_told_what_to_do():
    x, y = networks.batch(SHAPE)
    with pytest.raises(
        ValueError, match=r"one value for each of the 4 examples, got \(\); use red"
    ):
        Objective(build(), criterion=nn.NLLLoss())(x, y)


@pytest.mark.parametrize("width", [8, 400])
def test_a_teachers_labels_get_their_gradient_whatever_the_size(width):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, width), nn.Tanh(), nn.Linear(width, width), nn.Linear(width, 4)
    )
    teacher, x = nn.Linear(64, 4), torch.randn(8, 64)
    Objective(model, VAT(1.0))(x, teacher(x).softmax(1)).backward()
    assert teacher.weight.grad is not None
    assert teacher.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("width", [8, 400])
def test_a_parameter_of_a_users_function_gets_its_gradient_whatever_the_size(width):
    """As a learned temperature in a loss that is a plain function."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, width))
    temperature = torch.tensor(2.0, requires_grad=True)
    x, y = torch.randn(8, 64), torch.arange(8)

    def criterion(outputs, labels):
        return F.cross_entropy(outputs / temperature, labels, reduction="none")

    F.cross_entropy(model(x) / temperature, y).backward()
    expected, temperature.grad = temperature.grad, None
    Objective(model, VAT(1.0), criterion=criterion)(x, y).backward()
    torch.testing.assert_close(temperature.grad, expected)


@pytest.mark.parametrize("semi", [False, True])
@pytest.mark.parametrize("name", [n for n, c in CONTRACTS.items() if "image" in c.on])
def test_no_term_pays_for_gradients_in_what_it_makes(name, semi, monkeypatch):
    """All that its graphs reach are parameters of the objective."""
    monkeypatch.setattr("unshaken.objective.FEW", 0)
    sums = []
    kept = Objective._sum
    monkeypatch.setattr(Objective, "_sum", lambda *args: sums.append(kept(*args)) or sums[-1])
    x, y = networks.batch(SHAPE)
    joint(build(), make([name]), x, y, x.flip(0) if semi else None)
    (total,) = sums
    assert isinstance(total, Taken) and not total.beyond
