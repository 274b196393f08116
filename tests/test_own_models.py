"""Models as users build them: what holds them, computes their weights, compiles them."""

from __future__ import annotations

import copy
import sys
import threading
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from unshaken import AT, MVAT, VAT, VMT, MeanTeacher, Objective, TangentPropagation, fields
from unshaken.adversaries.curvature import rounding
from unshaken.perturbations import Movement


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU())


class Scaled(nn.Parameter):
    """A parameter of a class of its own, as those of sharded networks are."""


@pytest.mark.parametrize("kind", ["hook", "class"])
def test_hooks_and_foreign_parameters_get_each_gradient_once(kind):
    found, calls = [], []
    for take in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(*plain(), nn.Linear(300, 5))
        if kind == "class":
            model[2].weight = Scaled(model[2].weight.detach())
        else:
            for p in model.parameters():
                p.register_hook(lambda g: (calls.append(1), 2 * g)[1])
        x, y = torch.randn(32, 20), torch.arange(32) % 5
        Objective(model, AT(1.0), take_gradients=take)(x, y).backward()
        found.append([p.grad for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)
    assert len(calls) == (12 if kind == "hook" else 0)


def test_layers_without_a_size_yet():
    model = nn.Sequential(nn.LazyLinear(300), nn.ReLU(), nn.LazyLinear(5))
    x, y = torch.randn(8, 20), torch.arange(8) % 5
    Objective(model, VAT(1.0))(x, y).backward()
    assert all(p.grad is not None for p in model.parameters())


class DynamicKernels(nn.Module):
    """Kernels and scales computed from the input, one set for each example."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.head = nn.Linear(3, 8 * 27 + 8), nn.Linear(8, 5)

    def forward(self, x):
        n, made = len(x), self.make(x.mean((2, 3)))
        w, scale = made[:, :-8].reshape(n * 8, 3, 3, 3), made[:, -8:].mean(0)
        h = F.conv2d(x.reshape(1, -1, *x.shape[2:]), w, padding=1, groups=n)
        h = F.batch_norm(h.reshape(n, 8, *x.shape[2:]), None, None, scale, None, training=True)
        return self.head(torch.tanh(h).mean((2, 3)))


def test_weights_that_depend_on_the_input():
    """VMT's rate and its gradient are those of the naive double backward."""
    torch.manual_seed(0)
    model, x = DynamicKernels().double(), torch.randn(8, 3, 32, 32).double()
    y, move = torch.arange(8) % 5, Movement(fields.Shift())
    leaf = x.clone().requires_grad_()
    loss = F.cross_entropy(model(leaf), y, reduction="sum")
    (g,) = torch.autograd.grad(loss, leaf, create_graph=True)
    naive = move.rate(x, move.pull_back(x, g)).mean()
    wanted = torch.autograd.grad(naive, list(model.parameters()), allow_unused=True)
    value = VMT(fields.Shift())(model, x, y)
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    torch.testing.assert_close(value.detach(), naive.detach(), rtol=1e-10, atol=0)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(
            torch.zeros(()).double() if a is None else a,
            torch.zeros(()).double() if b is None else b,
            rtol=1e-8,
            atol=1e-12,
        )


def test_an_ensemble_under_vmap():
    base = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 5))
    p, b = stack_module_state([copy.deepcopy(base) for _ in range(3)])

    def model(x):
        each = vmap(lambda p, b: functional_call(base, (p, b), (x,)))(p, b)
        return each.mean(0)

    y = torch.arange(32) % 5
    assert float(VMT(fields.Shift())(model, torch.randn(32, 1, 16, 16), y).detach()) > 0


class Trainer:
    """The usual home-made one: the model is an attribute."""

    def __init__(self) -> None:
        norm = nn.BatchNorm1d(16)
        self.model = nn.Sequential(nn.Linear(8, 16), norm, nn.ReLU(), nn.Linear(16, 3))
        self.data = [(k, k) for k in range(100_000)]
        self.held = SimpleNamespace(model=self.model)

    def logits(self, x):
        return self.model(x)


@pytest.mark.parametrize("how", ["closure", "method", "namespace"])
def test_a_model_that_an_object_holds_is_left_as_it_was(how):
    trainer, x = Trainer(), torch.randn(32, 8) + 3
    held = trainer.held
    calls = {
        "closure": lambda x: trainer.model(x),
        "method": trainer.logits,
        "namespace": lambda x: held.model(x),
    }
    VAT(1.0)(calls[how], x)
    assert int(trainer.model[1].num_batches_tracked) == 0


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        padding = (torch.arange(10) >= 6).expand(len(x), 10)
        return self.head(self.encoder(x, src_key_padding_mask=padding).mean(1))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_padding_is_the_same_in_every_pass():
    """PyTorch's fused path, taken without a graph alone, gives padded positions other values."""
    torch.manual_seed(0)
    model, x = Reader().eval(), torch.randn(8, 10, 16)
    assert float(VAT(0.0).worst(model, x).value.abs().max()) < 1e-6
    found = []
    for fast in (True, False):
        torch.backends.mha.set_fastpath_enabled(fast)
        try:
            torch.manual_seed(1)
            found.append(VAT(0.5, steps=2).worst(model, x).value)
            assert torch.backends.mha.get_fastpath_enabled() is fast
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
    torch.testing.assert_close(*found)


def test_attention_has_an_exact_direction():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(160, 4))
    x = torch.randn(8, 10, 16)
    torch.manual_seed(1)
    exact = VAT(0.5, direction="exact").worst(model, x).parameters.flatten(1)
    torch.manual_seed(1)
    close = VAT(0.5).worst(model, x).parameters.flatten(1)
    assert float(F.cosine_similarity(exact, close).min()) > 0.98


def test_a_layer_without_forward_mode_is_named_by_what_to_do():
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    with pytest.raises(NotImplementedError, match="take direction='difference'"):
        VAT(0.5, direction="exact")(Words(), torch.randn(4, 5, 8))


def test_several_threads_leave_the_switches_of_the_process_as_they_were():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.head = nn.Linear(16, 4)

        def forward(self, x):
            return self.head(self.encoder(x.transpose(1, 2)).mean(1))

    import torch._dynamo  # the stance is taken only where something may be compiled

    def work() -> None:
        model, vmt = Net(), VMT(fields.Shift())
        x, y = torch.randn(8, 16, 12), torch.arange(8) % 4
        for _ in range(15):
            vmt(model, x, y).backward()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    # Compiled code runs as such again: PyTorch's stance is one for all threads, too.
    traced = []

    def backend(graph, inputs):
        traced.append(graph)
        return graph.forward

    torch.compile(lambda x: x.sin() + 1, backend=backend)(torch.ones(3))
    assert len(traced) == 1
    assert torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.mem_efficient_sdp_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


class Amp(nn.Module):
    """Autocast inside of the model, as trainers of other libraries wrap it."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, x):
        with torch.autocast("cpu", dtype=self.dtype):
            return self.model(x).float()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("term", [VAT(0.3, steps=2), MVAT(fields.Shift(), radius=0.1)])
def test_autocast_inside_of_the_model(term, dtype):
    torch.manual_seed(0)
    linear = [nn.Linear(256, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 5)]
    net, x = nn.Sequential(nn.Flatten(), *linear), torch.randn(64, 1, 16, 16)
    for p in net.parameters():
        if p.dim() > 1:
            nn.init.normal_(p, std=1.5 / p.shape[1] ** 0.5)

    def reached(model):
        torch.manual_seed(1)
        moved = term.worst(model, x).perturbed
        with torch.no_grad():
            p, q = net(x).log_softmax(1), net(moved).log_softmax(1)
        return float((p.exp() * (p - q)).sum(1).mean())

    assert reached(Amp(net, dtype)) > 0.95 * reached(net)


def test_the_rounding_unit_is_seen_in_the_outputs():
    x, y = torch.randn(4, 5), torch.randn(4, 3)
    assert float(rounding(x, y)) == torch.finfo(torch.float32).eps
    for dtype in (torch.bfloat16, torch.float16):
        assert float(rounding(x, y.to(dtype).float())) == torch.finfo(dtype).eps
    assert float(rounding(x.double(), y.double())) == torch.finfo(torch.float64).eps


def test_a_teacher_has_its_students_frozen_norms():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(784, 5))
    teacher = MeanTeacher(model, decay=0.0, noise=0.0)
    model.train()
    norm.eval()
    x = 3 * torch.randn(16, 1, 16, 16) + 2
    assert float(teacher(model, x).detach()) == pytest.approx(0, abs=1e-12)
    assert not teacher.teacher[1].training


def test_a_shared_part_of_two_graphs_says_what_to_do():
    layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(160, 500))
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(500, 4))
    x, y = torch.randn(8, 160), torch.arange(8) % 4
    with (
        torch.nn.utils.parametrize.cached(),
        pytest.raises(RuntimeError, match="take_gradients=False"),
    ):
        Objective(model, VAT(1.0))(x, y)
    with torch.nn.utils.parametrize.cached():
        Objective(model, VAT(1.0), take_gradients=False)(x, y).backward()


@pytest.mark.parametrize("terms", [(), (VAT(1.0),)], ids=["alone", "vat"])
def test_outputs_that_are_none(terms):
    x, y = torch.randn(8, 6), torch.arange(8) % 3

    class Odd(nn.Linear):
        def forward(self, x):
            return {"logits": super().forward(x)}

    with pytest.raises(TypeError, match="model must return one tensor"):
        Objective(Odd(6, 3), *terms)(x, y)


def test_a_row_for_each_example():
    linear = nn.Linear(6, 3)
    with pytest.raises(ValueError, match=r"for the 8 examples of its input, got shape \(4, 3\)"):
        VAT(1.0)(lambda x: linear(x)[::2], torch.randn(8, 6))


def test_the_model_comes_first():
    with pytest.raises(TypeError, match="model must come first"):
        Objective(VAT(1.0), nn.Linear(6, 3))
    with pytest.raises(TypeError, match=r"unpacked with \*"):
        Objective(nn.Linear(6, 3), [VAT(1.0)])


def test_compiled_models_inside_of_others_and_terms_inside_of_compiled_code():
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 5))
    compiled = torch.compile(inner, backend="aot_eager")
    x, y = torch.randn(8, 1, 8, 8), torch.arange(8) % 5
    terms = [VAT(1.0), VAT(1.0, direction="exact"), VMT(fields.Shift()), AT(0.5)]
    for term in [*terms, TangentPropagation(fields.Shift())]:
        labels, found = (y if term.labeled else None), []
        for model in (inner, lambda z: compiled(z)):
            torch.manual_seed(1)
            value = term(model, x, labels)
            value.backward()
            found.append(value.detach())
        torch.testing.assert_close(*found, rtol=1e-3, atol=1e-6)
    # Dropout draws the same masks in all passes of a term, also where a caller compiles the call.
    drops, z = nn.Sequential(nn.Linear(64, 32), nn.Dropout(0.5), nn.Linear(32, 5)), x.flatten(1)
    still = VAT(0.0)
    call = torch.compile(lambda z: still(drops, z), backend="aot_eager")
    assert float(call(z).detach()) == pytest.approx(0, abs=1e-7)
    objective = torch.compile(Objective(drops, VAT(0.0)), backend="aot_eager")
    objective(z, y).backward()
    assert float(objective.report["vat"]) == pytest.approx(0, abs=1e-7)
