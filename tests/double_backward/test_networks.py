"""VMT on whole, unmodified networks: the replaced layers change nothing but the cost."""

import pytest
import torch
from torch import nn

from tests import networks
from unshaken import AT, VMT, Objective, fields, models, passes
from unshaken.double_backward import mode


class Residual(nn.Module):
    """In-place activations, a skip connection and a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(True))
        self.block = nn.Sequential(
            nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4)
        )
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu_(self.block(x) + x)
        return self.out(nn.functional.max_pool2d(x, 2).mean((2, 3)))


NETWORKS = {
    "conv_small": lambda: models.conv_small(channels=2, classes=3),
    "mlp": lambda: models.mlp([2 * 8 * 8, 12, 7, 3]),
    "residual": Residual,
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("terms", [("vmt",), ("vmt", "at")], ids="+".join)
def test_the_same_loss_gradients_and_statistics(name, terms, monkeypatch):
    monkeypatch.setattr(passes, "TINY", 0)
    made = {"vmt": lambda: VMT(fields.Affine(), weight=2.0), "at": lambda: AT(0.3)}
    x, y = networks.batch((2, 8, 8))
    found = []
    for least in (0, 1 << 40):
        monkeypatch.setattr(mode, "LEAST", dict.fromkeys(mode.LEAST, least))
        torch.manual_seed(5)
        model = NETWORKS[name]().double()
        objective = Objective(model, *(made[term]() for term in terms))
        loss = objective(x, y)
        loss.backward()
        found.append(
            [
                loss.detach(),
                *(p.grad for p in model.parameters()),
                *(b.double() for b in model.buffers()),
            ]
        )
    networks.assert_same(found[0], found[1], 1e-12)
