"""What the processes of a Lightning run do; started by torchrun.

torchrun --nproc-per-node 2 tests/lightning_processes.py FOLDER

The first process leaves the trained weights in FOLDER/weights.pt. In one process the tests call
:func:`trained` with the whole batches.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

import unshaken.objective
from unshaken import AT, VMT, fields
from unshaken.lightning import RegularizedModule
from unshaken.models import mlp

# The networks are small; what large ones do is what this is to show.
unshaken.objective.FEW = 0


def trained(folder: Path, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    x, y = torch.randn(24, 1, 6, dtype=torch.float64), torch.arange(24) % 3
    module = RegularizedModule(
        mlp([6, 8, 3], batch_norm=False).double(),
        AT(0.3),
        VMT(fields.Shift()),
        optimizer=functools.partial(torch.optim.SGD, momentum=0.9),
        lr=0.1,
    )
    own = TensorDataset(x[rank::world], y[rank::world])
    pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        devices=world,
        strategy="ddp" if world > 1 else "auto",
        use_distributed_sampler=False,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, DataLoader(own, batch_size=8 // world))
    return dict(module.model.state_dict())


if __name__ == "__main__":
    place, number = Path(sys.argv[1]), int(os.environ["RANK"])
    weights = trained(place, number, int(os.environ["WORLD_SIZE"]))
    if number == 0:
        torch.save(weights, place / "weights.pt")
