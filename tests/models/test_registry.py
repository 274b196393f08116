import importlib
import sys

import pytest
import torch
from torch import nn

from unshaken import models


@pytest.mark.parametrize(
    ("name", "channels", "size", "classes"),
    [
        ("mlp", 1, (8, 8), 10),
        ("mlp", 1, (100,), 2),
        ("mlp", 1, (4, 4, 4), 2),
        ("mlp", 30, (), 4),
        ("conv_tiny", 1, (8, 8), 10),
        ("conv_tiny", 3, (28, 20), 4),
        ("conv_small", 1, (8, 8), 10),
        ("conv_small", 3, (32, 32), 100),
        ("conv_large", 3, (32, 32), 10),
        ("moons_mlp", 100, (), 2),
    ],
)
def test_a_name_gives_a_network_for_the_data(name, channels, size, classes):
    network = models.build(name, channels=channels, size=size, classes=classes)
    assert network(torch.randn(2, channels, *size)).shape == (2, classes)


def test_every_name_is_known():
    for name in models.NAMES:
        assert callable(getattr(models, name))


def hidden(network):
    return [layer.out_features for layer in network if isinstance(layer, nn.Linear)][:-1]


def test_the_widths_of_mlp_follow_the_data_unless_given():
    mnist = models.build("mlp", channels=1, size=(28, 28), classes=10)
    assert hidden(mnist) == [1200, 600, 300, 150]
    digits = models.build("mlp", channels=1, size=(8, 8), classes=10)
    assert hidden(digits) == [256, 128]
    sinusoids = models.build("mlp", channels=1, size=(100,), classes=2, widths=(128, 128))
    assert hidden(sinusoids) == [128, 128]


@pytest.mark.parametrize("name", ["mlp", "conv_tiny", "conv_small", "moons_mlp"])
def test_dropout_is_handed_on(name):
    size = (8, 8) if name.startswith("conv") else ()
    network = models.build(name, channels=100, size=size, classes=2, dropout=0.25)
    rates = {layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)}
    assert rates == {0.25}


SHAPE = {"channels": 3, "size": (8, 8), "classes": 2}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of an importable module, as a user would write one."""
    (tmp_path / "users_networks.py").write_text(
        "from torch import nn\n"
        "def plain(channels, size, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))\n"
        "def wide(channels, size, classes, widths):\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(widths[0]))\n"
        "def broken(channels, depth):\n"
        "    return nn.Identity()\n"
        "def fixed():\n"
        "    return nn.Flatten()\n"
        "def nothing(**shape):\n"
        "    return None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "users_networks"
    sys.modules.pop("users_networks", None)


def test_an_import_path_is_called_with_the_shape(module):
    x = torch.randn(2, 3, 8, 8)
    assert models.build(f"{module}:plain", **SHAPE)(x).shape == (2, 2)
    assert models.build(f"{module}:wide", **SHAPE, widths=[7])(x).shape == (2, 7)
    assert models.build(f"{module}:fixed", **SHAPE)(x).shape == (2, 192)
    with pytest.raises(ValueError, match=r"keyword arguments among .*, widths, .* 'widths'"):
        models.build(f"{module}:plain", **SHAPE, widths=[7])


def test_the_source_tells_one_network_from_another(module):
    path = f"{module}:fixed"
    before = models.source(path, nn.Linear(2, 3))
    assert before == models.source(path, nn.Linear(2, 3))
    assert "def fixed" in before
    assert before != models.source(path, nn.Linear(2, 4))
    assert before != models.source(f"{module}:plain", nn.Linear(2, 3))


def test_the_source_has_what_a_network_is_made_of(module, tmp_path):
    """Its base classes, and the functions and modules that its file takes from others."""
    (tmp_path / "users_parts.py").write_text("def act(x):\n    return x\n")
    (tmp_path / "users_base.py").write_text(
        "import users_parts\nfrom torch import nn\n"
        "class Base(nn.Module):\n"
        "    def forward(self, x):\n        return users_parts.act(x)\n"
    )
    (tmp_path / "users_nets.py").write_text(
        "from users_base import Base\nclass Net(Base):\n    pass\n"
    )
    importlib.invalidate_caches()
    net = importlib.import_module("users_nets").Net
    before = models.source("users_nets:Net", net())
    assert "class Base" in before and "def act" in before
    assert "class Module" not in before  # PyTorch's own
    (tmp_path / "users_parts.py").write_text("def act(x):\n    return 0 * x\n")
    assert models.source("users_nets:Net", net()) != before


def test_lazy_layers_have_their_sizes(module):
    made = models.build(f"{module}:plain", **SHAPE)
    assert [tuple(p.shape) for p in made.parameters()] == [(2, 192), (2,)]


@pytest.mark.parametrize(
    ("function", "error", "sentence"),
    [
        ("absent", ValueError, "must name a function that can be imported.*'absent'"),
        (
            "broken",
            ValueError,
            "function of keyword arguments among .*, classes, .*depth",
        ),
        ("nothing", TypeError, r"must return a torch\.nn\.Module, got NoneType"),
        ("__name__", ValueError, "must be a function of"),
    ],
)
def test_an_import_path_that_does_not_serve(module, function, error, sentence):
    with pytest.raises(error, match=sentence):
        models.build(f"{module}:{function}", **SHAPE)


@pytest.mark.parametrize("path", ["no_such_package.module:f", ":f", "..:f", "os:"])
def test_an_import_path_that_names_nothing(path):
    with pytest.raises(ValueError, match="must name a function that can be imported"):
        models.build(path, **SHAPE)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("resnet", {}, "model must be one of mlp, conv_tiny, .*got 'resnet'"),
        ("conv_tiny", {"size": (100,)}, r"size must be \(height, width\), got \(100,\)"),
        ("conv_large", {}, "at least 12×12 pixels, got 8×8"),
        ("conv_small", {"size": (100,)}, r"conv_small takes images .*got \(1, 3, 100\)"),
        ("conv_small", {"widths": (3,)}, r"widths belong to mlp.*got widths=\(3,\)"),
        ("moons_mlp", {}, "100 features and 2 classes, got 192 and 2"),
        ("mlp", {"classes": 1}, "classes must be an integer >= 2, got 1"),
        ("mlp", {"size": (0, 8)}, "each entry of size must be an integer >= 1, got 0"),
        ("mlp", {"widths": (0,)}, r"widths\[1\] must be an integer >= 1, got 0"),
    ],
)
def test_what_does_not_fit_is_said(name, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.build(name, **{**SHAPE, **change})
