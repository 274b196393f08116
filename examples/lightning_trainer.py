"""Lightning, twice: an objective in a module of one's own, and the module that is ready made."""

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, TensorDataset

import unshaken
from unshaken import fields
from unshaken.data import load, split
from unshaken.lightning import RegularizedModule


class Own(pl.LightningModule):
    """The objective is an attribute, and training_step returns its value."""

    def __init__(self) -> None:
        super().__init__()
        model = unshaken.models.mlp([64, 256, 128, 10])
        self.objective = unshaken.Objective(model, unshaken.VMT(fields.Shift(), weight=2.0))

    def training_step(self, batch, batch_idx):
        loss = self.objective(*batch)
        self.log_dict(self.objective.report)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.objective.parameter_groups(lr=2e-3))


def main(epochs: int = 30, folder: str = "lightning", seed: int = 0) -> dict[str, float]:
    pl.seed_everything(seed)
    data = load("digits")
    chosen = split(data, labels=100, seed=seed)
    labeled = TensorDataset(data.x_train[chosen.labeled], data.y_train[chosen.labeled])
    unlabeled = TensorDataset(data.x_train[chosen.unlabeled])
    test = DataLoader(TensorDataset(data.x_test, data.y_test), batch_size=500)

    def trainer(epochs: int) -> pl.Trainer:
        return pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )

    own = Own()
    trainer(1).fit(own, DataLoader(labeled, batch_size=50, shuffle=True))

    ready = RegularizedModule(
        unshaken.models.mlp([64, 256, 128, 10]), unshaken.VAT(radius=1.0), lr=2e-3
    )
    batches = CombinedLoader(
        {
            "labeled": DataLoader(labeled, batch_size=100, shuffle=True),
            "unlabeled": DataLoader(unlabeled, batch_size=128, shuffle=True, drop_last=True),
        },
        "max_size_cycle",
    )
    runner = trainer(epochs)
    runner.fit(ready, batches, val_dataloaders=test)
    found = {**own.trainer.callback_metrics, **runner.callback_metrics}
    return {name: float(value) for name, value in found.items()}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
