"""Replaced layers: the same outputs, first and second derivatives as PyTorch's own."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests import networks
from unshaken.double_backward import Session, TwiceDifferentiable, mode


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Replace layers of any size."""
    monkeypatch.setattr(mode, "LEAST", dict.fromkeys(mode.LEAST, 0))


def normalization(gamma=None):
    def make(channels):
        layer = nn.BatchNorm2d(channels, affine=gamma is not None)
        if gamma is not None:
            with torch.no_grad():
                layer.weight.copy_(torch.tensor(gamma))
        return layer

    return make


LAYERS = {
    "convolution": (lambda: nn.Conv2d(3, 4, 3, padding=1), (2, 3, 6, 5)),
    "strided, dilated, grouped": (
        lambda: nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=False),
        (2, 4, 7, 6),
    ),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), (2, 4, 6, 6)),
    "padded in words": (lambda: nn.Conv2d(3, 4, 3, padding="same"), (2, 3, 5, 5)),
    "one axis": (lambda: nn.Conv1d(3, 4, 3, stride=2), (2, 3, 9)),
    "three axes": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 4, 3, 5)),
    "batch norm": (lambda: nn.BatchNorm2d(3), (4, 3, 3, 2)),
    "batch norm without weights": (lambda: normalization()(3), (4, 3, 3, 2)),
    "a weight of zero": (lambda: normalization([0.0, 2.0, -1.0])(3), (4, 3, 3, 2)),
    "batch norm of rows": (lambda: nn.BatchNorm1d(5), (6, 5)),
    "batch norm of signals": (lambda: nn.BatchNorm1d(5), (6, 5, 4)),
    "average over all batches": (lambda: nn.BatchNorm2d(3, momentum=None), (4, 3, 3, 2)),
    "relu": (nn.ReLU, (3, 7)),
    "leaky relu": (lambda: nn.LeakyReLU(0.1), (3, 7)),
    "rising below zero": (lambda: nn.LeakyReLU(-0.1), (3, 7)),
    "in place": (lambda: nn.Sequential(nn.Linear(7, 5), nn.ReLU(inplace=True)), (3, 7)),
    "leaky in place": (lambda: nn.Sequential(nn.Linear(7, 5), nn.LeakyReLU(0.2, True)), (3, 7)),
    "a functional one": (lambda: networks.Functional(lambda x: F.relu(x) * x.relu()), (3, 7)),
    "in place on a view": (
        lambda: networks.Functional(lambda x: torch.relu_((2 * x).view(7, 3)).square()),
        (3, 7),
    ),
    "a residual block": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(True), nn.MaxPool2d(2)
        ),
        (4, 3, 6, 6),
    ),
    "unknown layers": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.GELU()),
        (3, 2, 5, 5),
    ),
}


def derivatives(make, shape, session):
    """Output, gradient in x with its graph, and gradients of a mix of both; running statistics."""
    torch.manual_seed(3)
    layer = make().double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    with nullcontext() if session is None else TwiceDifferentiable(session):
        y = layer(x)
    loss = (y.square() * torch.linspace(0.5, 2.0, y.numel()).double().reshape(y.shape)).sum()
    with nullcontext() if session is None else session.gradient_in_input():
        (g,) = torch.autograd.grad(loss, x, create_graph=True)
    penalty = (g.square() * torch.linspace(1.0, 2.0, g.numel()).double().reshape(g.shape)).sum()
    found = torch.autograd.grad(loss + penalty, [x, *layer.parameters()])
    return [y.detach(), g.detach(), *found, *(b.double() for b in layer.buffers())]


@pytest.mark.parametrize("name", LAYERS)
def test_equal_to_pytorch(name):
    make, shape = LAYERS[name]
    networks.assert_same(derivatives(make, shape, Session()), derivatives(make, shape, None), 1e-12)


@pytest.mark.parametrize("name", ["convolution", "batch norm", "leaky relu"])
def test_a_replaced_layer_is_not_pytorchs(name):
    """Else the comparison above would compare PyTorch with itself."""
    make, shape = LAYERS[name]
    x = torch.randn(shape, requires_grad=True)
    with TwiceDifferentiable(Session()):
        assert "unshaken" in type(make()(x).grad_fn)._forward_cls.__module__


def test_the_gradient_in_the_input_leaves_weights_out():
    """No weight gradient is computed for nothing: counted by the kernel's own arguments."""
    masks = []

    class Spy(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten.convolution_backward.default:
                masks.append(tuple(args[-1]))
            return func(*args, **(kwargs or {}))

    layer, session = nn.Conv2d(3, 4, 3), Session()
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    with TwiceDifferentiable(session):
        y = layer(x)
    with Spy():
        with session.gradient_in_input():
            (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        torch.autograd.grad(g.square().sum(), list(layer.parameters()))
    assert masks[0] == (True, False, False)
    assert (False, True, False) in masks


def test_frozen_weights_and_inputs():
    layer, session = nn.Conv2d(3, 4, 3), Session()
    layer.weight.requires_grad_(False)
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    with TwiceDifferentiable(session):
        y = layer(x)
        assert type(layer(x.detach()).grad_fn).__name__ == "ConvolutionBackward0"
    (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    torch.autograd.grad(g.square().sum(), layer.bias)


def test_a_single_value_in_a_channel_is_pytorchs_own_error():
    x = torch.randn(1, 3, requires_grad=True)
    with TwiceDifferentiable(Session()), pytest.raises(ValueError, match="more than 1 value"):
        nn.BatchNorm1d(3)(x)


def test_a_third_derivative_is_refused():
    layer, session = nn.BatchNorm1d(3), Session()
    x = torch.randn(5, 3, requires_grad=True)
    with TwiceDifferentiable(session):
        y = layer(x)
    with session.gradient_in_input():
        (g,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no third derivative"):
        torch.autograd.grad(g.square().sum(), x, create_graph=True)
