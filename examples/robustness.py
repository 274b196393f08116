"""How robust is a trained classifier? Attacks of an independent library say so.

pip install 'unshaken[attacks]'; python examples/robustness.py
"""

import torch

import unshaken
from unshaken.data import load
from unshaken.robustness import Robustness, robustness


def trained(*terms: unshaken.Regularizer, steps: int) -> torch.nn.Module:
    torch.manual_seed(0)
    data = load("digits")
    model = unshaken.models.mlp([64, 256, 128, 10])
    objective = unshaken.Objective(model, *terms)
    optimizer = torch.optim.Adam(objective.parameter_groups(lr=2e-3))
    for _ in range(steps):
        batch = torch.randint(len(data.x_train), (64,))
        optimizer.zero_grad()
        objective(data.x_train[batch], data.y_train[batch]).backward()
        optimizer.step()
    return model


def main(steps: int = 300, examples: int = 200) -> dict[str, Robustness]:
    data = load("digits")
    x, y = data.x_test[:examples], data.y_test[:examples]
    found = {}
    for name, terms in (("baseline", []), ("AT", [unshaken.AT(1.0)]), ("VAT", [unshaken.VAT(1.0)])):
        model = trained(*terms, steps=steps)
        found[name] = robustness(model, x, y, radii=(0.5, 1.0), steps=20, queries=100)
        print(name, found[name], sep="\n")
    return found


if __name__ == "__main__":
    main()
