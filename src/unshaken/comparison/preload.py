"""What every process of :mod:`workers` needs before its first step, imported once for all of them.

PyTorch imports its compiler when the first optimizer is made, which takes seconds.
"""

import torch

import unshaken.comparison.workers  # noqa: F401

torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
