"""Several processes: the whole objective is what DistributedDataParallel wraps.

torchrun --nproc-per-node 2 examples/distributed.py

Every process has a part of each batch. The gradients are those of one process with the whole batch,
and so both end with the same weights.
"""

import torch
import torch.distributed as dist
from torch import nn

import unshaken
from unshaken import fields
from unshaken.data import load


def main(steps: int = 60) -> float:
    dist.init_process_group("gloo")
    try:
        rank, world = dist.get_rank(), dist.get_world_size()
        torch.manual_seed(0)
        data = load("digits")
        model = unshaken.models.mlp([64, 256, 128, 10], batch_norm=False)
        objective = nn.parallel.DistributedDataParallel(
            unshaken.Objective(model, unshaken.AT(0.3), unshaken.VMT(fields.Affine()))
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        order = torch.Generator().manual_seed(1)  # the same in every process
        for _ in range(steps):
            batch = torch.randint(len(data.x_train), (64,), generator=order)[rank::world]
            optimizer.zero_grad()
            objective(data.x_train[batch], data.y_train[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            wrong = model.eval()(data.x_test).argmax(1) != data.y_test
        error = 100 * wrong.float().mean().item()
        total = sum(p.double().sum().item() for p in model.parameters())
        print(f"process {rank} of {world}: {error:.2f} % test error, weights' sum {total!r}")
        return error
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
