"""A plain PyTorch loop: 100 labeled digits, the rest unlabeled, VAT on the unlabeled ones."""

import torch
from torch.nn import functional as F

import unshaken
from unshaken.data import load, split


def main(steps: int = 300, radius: float = 1.0, seed: int = 0) -> float:
    torch.manual_seed(seed)
    data = load("digits")
    chosen = split(data, labels=100, seed=seed)
    x, y = data.x_train[chosen.labeled], data.y_train[chosen.labeled]
    rest = data.x_train[chosen.unlabeled]

    model = unshaken.models.mlp([64, 256, 128, 10])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    vat = unshaken.VAT(radius=radius)

    for _ in range(steps):
        u = rest[torch.randint(len(rest), (128,))]
        loss = F.cross_entropy(model(x), y) + vat(model, u)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with torch.no_grad():
        wrong = model.eval()(data.x_test).argmax(1) != data.y_test
    return 100 * wrong.float().mean().item()


if __name__ == "__main__":
    print(f"plain training: {main(radius=0.0):.1f} % test error")
    print(f"with VAT:       {main():.1f} %")
