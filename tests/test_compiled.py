"""Compiled models get the same values and gradients as plain ones."""

import pytest
import torch

from tests import networks
from tests.contracts import CONTRACTS, SHAPES, call
from unshaken import Objective

SHAPE = SHAPES["image"]


@pytest.mark.parametrize("name", ["at-l2", "vat-difference", "vmt-shift", "xvat-generator", "mvat"])
@pytest.mark.parametrize("joint", [False, True], ids=["alone", "objective"])
def test_a_compiled_model_gives_the_same(name, joint):
    """Compiled backwards keep nothing for a second use and have no derivative of their own."""
    model = networks.convolutional(2, 2)
    compiled = torch.compile(model, backend="aot_eager")
    x, y = networks.batch(SHAPE, dtype=torch.float32)
    term = CONTRACTS[name].make(SHAPE)
    found = []
    for net in (model, compiled):
        torch.manual_seed(1)
        loss = Objective(net, term)(x, y) if joint else call(term, net, x, y)
        model.zero_grad()
        loss.backward()
        found.append([*[p.grad.clone() for p in model.parameters()], loss.detach()])
    networks.assert_same(found[1], found[0], 1e-4)
