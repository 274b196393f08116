"""A 1-D signal: which of two frequencies it has, with VMT over shifts in time."""

import torch

import unshaken
from unshaken import fields
from unshaken.data import load


def main(steps: int = 300, weight: float = 1.0) -> float:
    torch.manual_seed(0)
    data = load("sinusoids", seed=0)  # (N, 1, 100)
    model = unshaken.models.mlp([100, 128, 128, 2])
    objective = unshaken.Objective(model, unshaken.VMT(fields.Shift(), weight=weight))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        rows = torch.randint(len(data.x_train), (50,))
        optimizer.zero_grad()
        objective(data.x_train[rows], data.y_train[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        wrong = model.eval()(data.x_test).argmax(1) != data.y_test
    return 100 * wrong.float().mean().item()


if __name__ == "__main__":
    print(f"{main():.2f} % test error")
