"""The audit: thresholds against brute force, invariances known by construction, and its report."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import unshaken
from tests import networks
from unshaken.auditing import audit, compare
from unshaken.auditing.families import FAMILIES, families_for
from unshaken.auditing.report import render
from unshaken.perturbations.warp import warp


def images(count=12, size=(9, 9), channels=1):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(count, channels, *size, generator=generator)
    kernel = torch.ones(channels, 1, *[3] * len(size)) / 3 ** len(size)
    smooth = getattr(nn.functional, f"conv{len(size)}d")
    return 3 * smooth(x, kernel, padding=1, groups=channels)


def network(size=(9, 9), classes=3, channels=1):
    torch.manual_seed(7)
    return networks.mlp((channels, *size), classes, 16)


def polar(x, model, radii, angles):
    """The least radius of a shift at which the prediction changes, by trying all."""
    clean = model(x).argmax(1)
    found = torch.full((len(x),), math.inf)
    for radius in radii:
        for angle in angles:
            v = torch.tensor([math.cos(angle), math.sin(angle)]) * radius
            moved = warp(x, v.reshape(1, 2, 1, 1).expand(len(x), 2, *x.shape[2:]))
            changed = (model(moved).argmax(1) != clean) & (found == math.inf)
            found[changed] = radius
    return found


def test_shift_thresholds_are_those_of_brute_force():
    x, model = images(), network()
    result = audit(model, x, families=["shift"], steps=24, directions=46, layers=False)
    curve = result.curves["shift"]
    radii = np.arange(1, 200) * curve.degrees[-1] / 200
    with torch.no_grad():
        dense = polar(x, model, radii, np.linspace(0, 2 * math.pi, 46, endpoint=False))
    both = (dense < math.inf) & (curve.threshold < math.inf)
    assert both.sum() >= 6
    assert ((dense < math.inf) == (curve.threshold < math.inf)).all()
    # The brute force's own step beside the stated tolerance; the audit also tries the gradient's.
    slack = curve.tolerance + curve.degrees[-1] / 200
    assert (curve.threshold[both] <= dense[both] + slack).all()
    assert (curve.threshold[both] >= dense[both] - 4 * slack).all()


def test_rotation_thresholds_are_those_of_brute_force():
    x, model = images(), network()
    curve = audit(model, x, families=["rotation"], steps=30, layers=False).curves["rotation"]
    clean = model(x).argmax(1)
    step = curve.degrees[-1] / 240
    dense = torch.full((len(x),), math.inf)
    center = (np.array(x.shape[2:]) - 1) / 2
    p = np.stack(np.meshgrid(*map(np.arange, x.shape[2:]), indexing="ij")) - center[:, None, None]
    for k in range(1, 241):
        for sign in (1, -1):
            angle = math.radians(sign * k * step)
            turn = np.array(
                [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
            )
            at = np.einsum("ij,jab->iab", turn, p) + center[:, None, None]
            moved = np.stack(
                [map_coordinates(one[0], at, order=1, mode="nearest") for one in x.numpy()]
            )
            changed = model(torch.from_numpy(moved)[:, None]).argmax(1) != clean
            dense[changed & (dense == math.inf)] = k * step
    assert ((dense < math.inf) == (curve.threshold < math.inf)).all()
    both = dense < math.inf
    assert both.any()
    difference = (curve.threshold - dense)[both].abs()
    assert (difference <= curve.tolerance + step).all()


class Around(nn.Module):
    """Convolutions that know no border, and a mean over all positions."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1, padding_mode="circular"),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular"),
            nn.ReLU(),
        )
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return self.last(self.layers(x).mean((2, 3)))


def test_integer_shifts_do_not_shake_a_circular_network():
    x, model = images(16, (8, 8)), Around()
    family = families_for(["shift"], (8, 8), "circular")[0]
    clean = model(x)
    for direction in ([1.0, 0.0], [0.0, -1.0]):
        along = torch.tensor(direction).expand(len(x), 2)
        for degree in (1.0, 2.0, 5.0):
            v = family.displacement(x, along, torch.full((len(x),), degree))
            moved = warp(x, v, "circular")
            rolled = x.roll([-round(d * degree) for d in direction], (2, 3))
            torch.testing.assert_close(moved, rolled)
            torch.testing.assert_close(model(moved), clean)
    result = audit(
        model, x, families=["shift"], steps=1, directions=4, largest={"shift": 2.0},
        padding="circular", layers=["layers.0", "layers.3"],
    )  # fmt: skip
    # Two pixels along the axes are integer shifts, whatever else was tried.
    assert result.curves["shift"].degrees == [2.0]
    for row in result.layers["shift"]:
        assert row["equivariance error"] is not None


class Radial(nn.Module):
    """It sees only how far positions are from the center: any rotation leaves it as it is."""

    def __init__(self, size):
        super().__init__()
        axes = [torch.linspace(-1, 1, d) for d in size]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        self.register_buffer("weight", torch.exp(-8 * grid.square().sum(0)) / 200)

    def forward(self, x):
        seen = (x * self.weight).flatten(1).sum(1)
        return torch.stack([seen, 0.5 - seen], 1)


def test_rotations_do_not_shake_what_is_invariant_to_them():
    size = (41, 41)
    axes = [torch.linspace(-1, 1, d) for d in size]
    r2 = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0)
    x = torch.stack([torch.exp(-3 * r2), 0.02 * torch.cos(4 * r2)])[:, None]
    result = audit(Radial(size), x, families=["rotation", "scale"], layers=False)
    assert (result.curves["rotation"].threshold == math.inf).all()
    scale, turn = (float(result.sensitivity[k].max()) for k in ("scale", "rotation"))
    assert turn < 1e-3 * scale


@pytest.mark.parametrize("size", [(40,), (9, 12), (6, 5, 7)], ids=["signal", "image", "volume"])
def test_every_number_of_axes(size):
    model = network(size)
    x = images(6, size)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    result = audit(model, (x, y), steps=3, directions=2, batch_size=4)
    assert list(result.curves) == [n for n, f in FAMILIES.items() if len(size) in f.axes]
    assert result.accuracy == pytest.approx(100 * float((model(x).argmax(1) == y).double().mean()))
    for name, curve in result.curves.items():
        assert len(curve.worst) == len(curve.random) == 3
        assert all(a >= b for a, b in zip(curve.worst, curve.worst[1:], strict=False)), name
        assert set(result.by_class()) == {"0", "1", "2"}
    assert ("<h2>Most easily shaken" in render(result)) == bool(result.shaken)


def test_without_labels_and_along_axes_of_one_pixel():
    """Signals may come as images of one pixel's width, which cannot be deformed along it."""
    result = audit(network((7, 1)), images(5, (7, 1)), steps=2, directions=1)
    assert list(result.curves) == ["shift", "rotation", "scale", "affine"]
    assert "without labels: accuracy counts unchanged" in result.table()


def test_degrees_are_in_the_units_they_say():
    x = images(1, (21, 31))
    one = torch.ones(1)
    for family in families_for(None, (21, 31), "border"):
        direction = torch.zeros(1, family.freedom)
        direction[0, 0] = 1.0
        v = family.displacement(x, direction, 0.1 * one)
        rms = v.square().sum(1).mean().sqrt()
        assert float(rms) == pytest.approx(0.1 * family.pixels(1.0), rel=2e-3), family.name
    turn = families_for(["rotation"], (5, 5), "border")[0]
    quarter = turn.displacement(images(1, (5, 5)), torch.ones(1, 1), torch.tensor([90.0]))
    x = torch.arange(25.0).reshape(1, 1, 5, 5)
    torch.testing.assert_close(warp(x, quarter), torch.rot90(x, -1, (2, 3)), atol=1e-4, rtol=0)


def test_data_in_every_form_give_the_same():
    x, y, model = images(8), torch.arange(8) % 3, network()
    options = {"families": ["scale"], "steps": 4, "layers": False, "batch_size": 3}
    first = audit(model, (x, y), **options).to_dict()
    loader = DataLoader(TensorDataset(x, y), batch_size=5)
    pairs = TensorDataset(x, y)
    for data in ((x.numpy(), y.numpy()), (x.double().numpy(), y.numpy()), loader, pairs):
        other = audit(model, data, **options).to_dict()
        assert {**other, "seconds": 0} == {**first, "seconds": 0}
    assert audit(model, loader, examples=4, **options).predictions.shape == (4,)


def test_the_model_is_as_it_was():
    model = network().train()
    model[2].eval()
    before = [m.training for m in model.modules()]
    torch.manual_seed(1)
    audit(model, images(4), steps=2, directions=1)
    assert [m.training for m in model.modules()] == before
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(1)))


def test_a_quick_audit_is_the_long_one_with_less_to_look_at():
    model, x = network(), images()
    calls = []
    model.register_forward_hook(lambda module, given, out: calls.append(len(out)))
    found = audit(model, x, quick=True)
    # A pass with its gradient, then for each family 3 at each degree and the halving.
    assert sum(calls) <= len(x) * (1 + 2 * (3 * 4 + 2 * 5))
    assert set(found.curves) == {"shift", "rotation"}
    assert len(found.curves["shift"].degrees) == 4
    assert not found.layers
    wanted = ["shift", "rotation"]
    same = audit(model, x, families=wanted, steps=4, directions=0, layers=False)
    for name, curve in found.curves.items():
        assert torch.equal(curve.threshold, same.curves[name].threshold)
    other = audit(model, x, quick=True, families=["scale"], steps=2, layers=["2"])
    assert set(other.curves) == {"scale"}
    assert len(other.curves["scale"].degrees) == 2
    assert other.layers


def test_progress_is_told_after_every_batch_and_never_goes_back():
    told, passed, model = [], [], network()
    model.register_forward_hook(lambda *_: passed.append(1))
    options = {"families": ["shift", "rotation"], "steps": 3, "directions": 2, "batch_size": 5}
    audit(model, images(), layers=False, progress=lambda *now: told.append(now), **options)
    assert [name for name, done, total in told if done == total] == ["start", "shift", "rotation"]
    for name in ("shift", "rotation"):
        course = [done for part, done, _ in told if part == name]
        assert course == sorted(course)
        assert course[0] <= 1
    # Once more at the end of each family; without labels the start passes each input once.
    assert len(told) == len(passed) + 2


def test_sensitivities_of_wrong_examples_are_those_of_their_labels():
    model, x = network(), images()
    y = torch.tensor([0, 1, 2]).repeat(4)
    leaf = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(leaf), y, reduction="sum")
    (g,) = torch.autograd.grad(loss, leaf)
    assert 0 < int((model(x).argmax(1) != y).sum()) < len(x)
    found = audit(model, (x, y), quick=True).sensitivity["additive, L2"]
    torch.testing.assert_close(found, g.flatten(1).norm(dim=1))


def test_layers_tell_where_a_movement_is_lost():
    model = Around()
    found = audit(
        model, images(8, (16, 16)), families=["shift"], steps=1, padding="circular"
    ).layers["shift"]
    changes = {str(row["layer"]): row["change"] for row in found}
    # The mean over positions makes a shift almost invisible; the convolutions do not.
    assert changes["last"] < 0.2 * changes["layers.0"]
    errors = [row["equivariance error"] for row in found if row["equivariance error"] is not None]
    assert len(errors) == 4
    assert max(errors) < 0.6


class Pooled(nn.Module):
    def __init__(self, last=False):
        super().__init__()
        self.dims = (1, 2) if last else (2, 3)

    def forward(self, x):
        return x.mean(self.dims)


class Last(nn.Module):
    def forward(self, x):
        return x.movedim(1, -1)


@pytest.mark.parametrize(
    ("layer", "last"),
    [
        (nn.Conv2d(1, 4, 7, bias=False), False),  # crops, and does not stretch
        (nn.Conv2d(1, 4, 7, padding=3, bias=False), False),
        (nn.Conv2d(1, 4, 5, stride=2, padding=1, bias=False), False),  # 28 to 13
        (nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), Last()), True),
        (nn.Upsample(scale_factor=2, mode="bilinear"), False),
    ],
)
def test_a_layer_that_moves_along_is_seen_to(layer, last):
    conv = next((m for m in layer.modules() if isinstance(m, nn.Conv2d)), None)
    if conv is not None:
        nn.init.zeros_(conv.weight)
        middle = conv.kernel_size[0] // 2
        conv.weight.data[:, :, middle, middle] = torch.arange(1.0, 5).reshape(4, 1)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(16, 1, 4, 4, generator=generator)
    x = nn.functional.interpolate(x, size=(28, 28), mode="bicubic")
    names = ["0"] if not last else ["0.1"]
    model = nn.Sequential(layer, Pooled(last), nn.Linear(1 if conv is None else 4, 3))
    found = audit(model, x, families=["shift", "rotation"], steps=1, directions=0, layers=names)
    for rows in found.layers.values():
        assert rows[0]["equivariance error"] < 0.35, rows


def test_a_layer_that_does_not_move_along_is_seen_not_to():
    class Placed(nn.Module):
        """A pattern of its own wherever the input is."""

        def forward(self, x):
            return x.mean((1, 2, 3), keepdim=True) * torch.sin(torch.arange(81.0)).reshape(9, 9)

    model = nn.Sequential(Placed(), Pooled(), nn.Linear(1, 3))
    found = audit(model, images(), families=["shift"], steps=1, directions=0, layers=["0"])
    assert found.layers["shift"][0]["equivariance error"] > 0.8


def test_thresholds_do_not_depend_on_what_else_is_asked():
    model, x = network(), images(40)
    wanted = {"steps": 4, "directions": 3}
    alone = audit(model, x, families=["affine"], layers=False, **wanted)
    for more in ({"batch_size": 7}, {"families": ["shift", "affine", "elastic"]}, {"layers": "1"}):
        options = {"families": "affine", **wanted, **more}
        found = audit(model, x, **options)
        assert torch.equal(found.curves["affine"].threshold, alone.curves["affine"].threshold)


def test_classes_of_the_same_name_stay_apart():
    data = images(6), torch.arange(6) % 3
    options = {"families": ["shift"], "steps": 2, "directions": 0, "layers": False}
    found = audit(network(), data, classes=("crane", "b", "crane"), **options)
    assert list(found.by_class()) == ["crane (0)", "b", "crane (2)"]


def test_inside_inference_mode():
    model, options = network(), {"families": ["shift"], "steps": 2, "directions": 0}
    wanted = audit(model, images(), **options)
    with torch.inference_mode():
        x = images()
        inside = audit(model, x, **options)
    for found in (inside, audit(model, x, **options)):
        assert torch.equal(found.curves["shift"].threshold, wanted.curves["shift"].threshold)


def test_one_example_of_two_models():
    options = {"families": ["shift"], "steps": 2, "directions": 0, "layers": False}
    one = audit(network(), images(1), **options)
    assert compare(one, one)["shift"]["standard_error"] is None
    assert "nan" not in render(one, one)


def test_two_models_on_the_same_examples(tmp_path):
    x = images(8)
    a, b = (audit(m, x, steps=4, directions=2) for m in (network(), Still()))
    found = compare(a, b)
    assert all(row["smaller"] == 0 for row in found.values())
    a.save(tmp_path, b)
    content = json.loads((tmp_path / "audit.json").read_text())
    assert content["comparison"] == found
    assert "two models" in (tmp_path / "report.html").read_text()
    with pytest.raises(ValueError, match="same examples"):
        compare(a, audit(network(), x[:4], steps=4))


class Still(nn.Module):
    """Nothing changes its mind."""

    def forward(self, x):
        return x.flatten(1).mean(1, keepdim=True) * torch.zeros(3) + torch.tensor([1.0, 0, 0])


class Cut(nn.Module):
    """Outputs have a graph, but it does not reach the input."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(81, 3)

    def forward(self, x):
        return self.last((x > 0).float().flatten(1))


class Endless(nn.Module):
    """Not a number, for some of the inputs or for all that were moved."""

    def __init__(self, clean):
        super().__init__()
        self.clean = clean

    def forward(self, x):
        still = x if self.clean is None else x - self.clean[: len(x)]
        moved = still.flatten(1).abs().amax(1, keepdim=True) > 1e-6
        return torch.where(moved, math.nan, x.flatten(1)[:, :3])


class Named(nn.Module):
    def forward(self, x):
        return {"logits": x.flatten(1)}


@pytest.mark.parametrize(
    ("model", "data", "options", "error", "sentence"),
    [
        (Cut(), images(2), {}, ValueError, "do not depend on x through autograd"),
        (Endless(None), images(2), {}, ValueError, "got NaN or infinity for 2 of 2 examples"),
        (Endless(images(2)), images(2), {}, ValueError, "model must give finite outputs"),
        (Named(), images(2), {}, TypeError, r"tensor of class scores .*, got dict; wrap it"),
        (network((5, 1)), images(2, (5, 1)), {"families": ["elastic"]}, ValueError, "2 pixels"),
        (len, images(2), {}, TypeError, "model must be a torch.nn.Module"),
        (network(), torch.randn(3, 4), {}, ValueError, "inputs \\(N, C, \\*size\\)"),
        (network(), 3, {}, TypeError, "data must be"),
        (network(), (images(2), torch.ones(2)), {}, ValueError, "a class index for each"),
        (network(), images(2), {"families": ["twist"]}, ValueError, "families must be among"),
        (network((9,)), images(2, (9,)), {"families": ["rotation"]}, ValueError, "2 or 3 spatial"),
        (network(), images(2), {"layers": ["nope"]}, ValueError, "layers must be names"),
        (network(), images(2), {"padding": "mirror"}, ValueError, "padding must be one of"),
        (network(), images(2), {"steps": 0}, ValueError, "steps must be an integer >= 1"),
        (network(), images(2), {"largest": {"shear": 1}}, ValueError, "largest must name"),
        (network(), images(2), {"largest": {"shift": -2.0}}, ValueError, "largest: shift must be"),
        (network(), images(2), {"largest": {"shift": "2"}}, TypeError, "largest: shift must be"),
        (network(), images(2), {"seed": "x"}, TypeError, "seed must be an integer"),
        (network(), images(2), {"layers": "12"}, ValueError, "got '12'"),
        (network(), (images(2), torch.tensor([0, -1])), {}, ValueError, "labels must lie in 0..2"),
        (network(), [{"x": images(2)}], {}, TypeError, "got list that gives dict"),
        (network(), "digits", {}, TypeError, "got str that gives str"),
    ],
)
def test_mistakes(model, data, options, error, sentence):
    with pytest.raises(error, match=sentence):
        audit(model, data, **options)


def test_public_face():
    assert unshaken.audit is audit
