"""The reader of MATLAB files, against SciPy's writer."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.data import files
from unshaken.data import DataError
from unshaken.data.matlab import read_matlab


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8"])
def test_what_scipy_writes(tmp_path: Path, compressed: bool, dtype: str) -> None:
    x = files.pixels(3, 4, 2, 5).astype(dtype)
    content = {"X": x, "y": np.ones((2, 1), dtype), "text": "hello", "z": np.array([[1j]])}
    savemat(tmp_path / "a.mat", content, do_compression=compressed)
    y, again = read_matlab(tmp_path / "a.mat", ("y", "X"))
    np.testing.assert_array_equal(again, x)
    assert y.tolist() == [[1], [1]] and again.dtype == x.dtype
    with pytest.raises(DataError, match="expected the arrays X and text, got no text among X, y"):
        read_matlab(tmp_path / "a.mat", ("X", "text"))


def test_other_formats(tmp_path: Path) -> None:
    savemat(tmp_path / "old.mat", {"X": np.eye(2)}, format="4")
    with pytest.raises(DataError, match="version 5 to 7, got another format"):
        read_matlab(tmp_path / "old.mat", ("X",))
    with pytest.raises(DataError, match="no such file"):
        read_matlab(tmp_path / "absent.mat", ("X",))
