"""What a Dataset refuses when it is made by hand."""

from typing import Any

import pytest
import torch

from unshaken.data import DataError, Dataset

X, Y = torch.zeros(4, 1, 5), torch.tensor([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": 1}, "at least 2 classes, got 1"),
        ({"x_train": X.double()}, "x_train: expected float32, got torch.float64"),
        ({"x_test": X[0]}, r"x_test: expected examples of shape \(1, 5\)"),
        ({"x_test": X[:0]}, r"x_test: expected a non-empty"),
        ({"x_test": X[:, :, :3]}, r"shape \(1, 5\) as in x_train, got \(1, 3\)"),
        ({"x_unlabeled": X + torch.inf}, "x_unlabeled: expected finite .* example 0"),
        ({"y_train": Y.float()}, "y_train: expected int64"),
        ({"y_test": Y[:3]}, "y_test: expected 4 labels, one per example, got 3"),
        ({"y_train": Y - 1}, r"y_train: expected labels 0 .. 1, got -1"),
        ({"y_test": Y + 1}, r"y_test: expected labels 0 .. 1, got 2"),
        ({"plane": torch.eye(2)}, r"plane: expected the shape \(2, D\)"),
    ],
)
def test_refused(changed: dict[str, Any], message: str) -> None:
    arguments = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y, "classes": 2, **changed}
    with pytest.raises(DataError, match=f"^own: .*{message}"):
        Dataset("own", **arguments)


def test_properties() -> None:
    data = Dataset("own", X, Y, X, Y, 2, x_unlabeled=X[:2] + 1)
    assert (data.channels, data.size, data.features) == (1, (5,), 5)
    assert data.x_all[4:].eq(1).all() and data.x_all is data.x_all
    assert Dataset("own", X, Y, X, Y, 2).x_all is X
    assert repr(data) == "Dataset('own', (1, 5), 2 classes, 4 train, 4 test, 2 unlabeled)"
