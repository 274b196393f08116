"""What every test starts from: one thread, a fixed seed, and the larger data where they are."""

import random
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

# Several threads on shared cores make tiny networks 10 to 50 times slower.
torch.set_num_threads(1)

# No deadline: the first call of an operator is slow. Derandomized: a red test stays red.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("house")


@pytest.fixture(autouse=True)
def seed() -> int:
    """The seed that every source of random numbers has when a test starts."""
    value = 0
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with data too large for the repository; skips where it is absent."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the folder shared/ beside the checkout, with its data/")
    return folder


@pytest.fixture(autouse=True)
def gradients_are_taken(monkeypatch):
    """The tests' networks are small; what large ones do is what they are to show."""
    monkeypatch.setattr("unshaken.objective.FEW", 0)
