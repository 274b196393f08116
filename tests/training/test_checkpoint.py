import errno
import os
import pickle
import re
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from unshaken.training import CheckpointError, atomic, latest, read_checkpoint, write_checkpoint
from unshaken.training.checkpoint import checkpoints, prune

from .helpers import assert_same

CONTENT = {
    "weights": {"a": torch.arange(300.0), "b": torch.ones(2, dtype=torch.bfloat16)},
    "list": [1, 2.5, "three", None, True],
    "tuple": (torch.zeros(()),),
}


class Exploit:
    """Executes code when it is unpickled the usual way."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_what_is_written_is_read(tmp_path):
    path = write_checkpoint(tmp_path, 12, CONTENT)
    assert path == tmp_path / "step-00000012.pt"
    assert_same(read_checkpoint(path), CONTENT)


def test_other_programs_can_read_it_too(tmp_path):
    path = write_checkpoint(tmp_path, 1, CONTENT)
    assert_same(torch.load(path, weights_only=True), CONTENT)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert re.fullmatch(rb"unshaken-sha256=[0-9a-f]{64}", archive.comment)


def test_every_flipped_bit_is_noticed(tmp_path):
    path = write_checkpoint(tmp_path, 1, {"x": torch.arange(4.0)})
    whole = path.read_bytes()
    end = len(whole)
    # Each byte of the tail, where the checksum itself stands, and a sample of the rest.
    for at in [*range(0, end - 110, 37), *range(end - 110, end)]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
    path.write_bytes(whole)
    read_checkpoint(path)


def test_a_file_cut_short_or_grown_is_noticed(tmp_path):
    path = write_checkpoint(tmp_path, 1, CONTENT)
    whole = path.read_bytes()
    for size in (0, 1, 50, len(whole) // 2, len(whole) - 81, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="cut short or is no checkpoint"):
            read_checkpoint(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_a_hostile_file_is_refused_and_executes_nothing(tmp_path):
    mark = tmp_path / "executed"
    hostile = [
        write_checkpoint(tmp_path, 1, {"x": Exploit(mark)}),  # with a checksum that is right
        tmp_path / "step-00000002.pt",
        tmp_path / "step-00000003.pt",
    ]
    torch.save({"x": Exploit(mark)}, hostile[1])
    hostile[2].write_bytes(pickle.dumps({"x": Exploit(mark)}))
    with pytest.raises(CheckpointError, match=r"nothing in it executed.*posix\.system"):
        read_checkpoint(hostile[0])
    for path in hostile[1:]:
        with pytest.raises(CheckpointError, match="is no checkpoint"):
            read_checkpoint(path)
    assert not mark.exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.pt: No such file"):
        read_checkpoint(tmp_path / "absent.pt")


def test_the_newest_is_found_by_number(tmp_path):
    assert latest(tmp_path) is None
    assert latest(tmp_path / "absent") is None
    for step in (5, 100_000_000, 40):
        write_checkpoint(tmp_path, step, {"step": step})
    (tmp_path / "step-notes.pt").write_text("not one")
    found = latest(tmp_path)
    assert found is not None
    assert found[1] == {"step": 100_000_000}
    prune(tmp_path, 2)
    assert [path.name for path in checkpoints(tmp_path)] == [
        "step-00000040.pt",
        "step-100000000.pt",
    ]


def test_a_damaged_one_is_passed_over_with_a_warning(tmp_path):
    for step in (1, 2, 3):
        path = write_checkpoint(tmp_path, step, {"step": step})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.warns(UserWarning, match=r"step-00000003\.pt is cut short.*back to step-00000002"):
        found = latest(tmp_path)
    assert found is not None
    assert found[1] == {"step": 2}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in checkpoints(tmp_path):
            path.write_bytes(b"nothing")
        with pytest.raises(CheckpointError, match="remove them to start anew"):
            latest(tmp_path)
    assert len(caught) == 2


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, moment):
    kept = write_checkpoint(tmp_path, 1, {"step": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if moment == "write":
        original = open

        def opened(path, mode="r", **options):
            file = original(path, mode, **options)
            return _Full(file) if "w" in mode else file

        monkeypatch.setattr(atomic, "open", opened, raising=False)
    else:
        monkeypatch.setattr(atomic.os, moment, full)
    with pytest.raises(CheckpointError) as error:
        write_checkpoint(tmp_path, 2, {"x": torch.zeros(1000)})
    monkeypatch.undo()
    assert str(error.value) == (
        f"cannot write {tmp_path}/step-00000002.pt: No space left on device; "
        "the newest checkpoint kept is step-00000001.pt"
    )
    assert list(tmp_path.iterdir()) == [kept]
    assert read_checkpoint(kept) == {"step": 1}


class _Full:
    """A file on a disk that is full after a few bytes."""

    def __init__(self, file) -> None:
        self._file = file

    def write(self, data):
        if self._file.tell() > 300:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CheckpointError, match=r"cannot write .*Not a directory"):
        write_checkpoint(tmp_path / "file", 1, {})


def test_an_interrupted_write_leaves_no_trace(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, 1, CONTENT)
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())
