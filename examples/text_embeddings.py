"""Text: tokens cannot be moved a little, their embeddings can.

The encoder turns tokens into embeddings and the model classifies these; the objective is given the
embeddings as its input, and the gradient of every term reaches the encoder too.
"""

import torch
from torch import nn

import unshaken


class Reader(nn.Module):
    """From embeddings ``(N, T, D)`` to logits; padding has the embedding zero."""

    def __init__(self, width: int = 16, classes: int = 2) -> None:
        super().__init__()
        self.mix = nn.GRU(width, 32, batch_first=True)
        self.head = nn.Linear(32, classes)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        states, _ = self.mix(embeddings)
        return self.head(states.mean(1))


def sentences(count: int, seed: int, length: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens 1-40, and whether there are more of 1-20 than of 21-40."""
    tokens = torch.randint(1, 41, (count, length), generator=torch.Generator().manual_seed(seed))
    return tokens, ((tokens <= 20).sum(1) > length / 2).long()


def main(steps: int = 200) -> dict[str, float]:
    torch.manual_seed(0)
    encoder = nn.Embedding(41, 16, padding_idx=0)
    objective = unshaken.Objective(Reader(), unshaken.VAT(radius=0.5))
    optimizer = torch.optim.Adam([*encoder.parameters(), *objective.parameters()], lr=5e-3)
    tokens, y = sentences(1000, 0)
    before = encoder.weight.detach().clone()
    for _ in range(steps):
        rows = torch.randint(len(y), (64,))
        optimizer.zero_grad()
        objective(encoder(tokens[rows]), y[rows]).backward()
        optimizer.step()
    test, labels = sentences(500, 1)
    with torch.no_grad():
        wrong = objective.model(encoder(test)).argmax(1) != labels
    return {
        "test error %": 100 * wrong.float().mean().item(),
        "embeddings moved by": (encoder.weight - before).norm().item(),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
