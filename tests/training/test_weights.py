import os

import pytest
import torch
from torch import nn

from unshaken.training import (
    CheckpointError,
    load_model_weights,
    save_model_weights,
    train,
    write_checkpoint,
)

from .helpers import assert_same, config, noise, objective
from .test_checkpoint import Exploit


@pytest.fixture(params=[None, 0.9], ids=["last", "average"])
def run(request, tmp_path):
    data, split = noise()
    result = train(objective(), data, split, config(ema=request.param), out=tmp_path / "run")
    return tmp_path / "run", {k: v.cpu().clone() for k, v in result.model.state_dict().items()}


def test_weights_come_from_wherever_they_are(run):
    folder, expected = run
    checkpoint = folder / "checkpoints/step-00000020.pt"
    for path in (folder, str(folder), folder / "model.safetensors", checkpoint):
        assert_same(load_model_weights(path), expected)
    objective().model.load_state_dict(load_model_weights(folder))
    (folder / "model.safetensors").unlink()
    assert_same(load_model_weights(folder), expected)
    assert_same(load_model_weights(folder / "checkpoints"), expected)


def test_the_same_weights_are_the_same_bytes(tmp_path):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    found = set()
    for number in range(12):  # the library's own order of three entries would change
        save_model_weights(model, tmp_path / f"{number}.safetensors")
        found.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(found) == 1
    assert int.from_bytes(found.pop()[:8], "little") % 8 == 0
    assert_same(load_model_weights(tmp_path / "0.safetensors"), dict(model.state_dict()))


def test_a_state_dict_of_another_program(tmp_path):
    model = nn.Linear(2, 3)
    torch.save(model.state_dict(), tmp_path / "a.pt")
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "b.pth")
    for name in ("a.pt", "b.pth"):
        assert_same(load_model_weights(tmp_path / name), dict(model.state_dict()))


def test_every_flipped_bit_is_noticed(run):
    folder, _ = run
    for path in (folder / "model.safetensors", folder / "checkpoints/step-00000020.pt"):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 60)):
            damaged = bytearray(whole)
            damaged[at] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError):
                load_model_weights(path)
        path.write_bytes(whole[:-7])
        with pytest.raises(CheckpointError):
            load_model_weights(path)
        path.write_bytes(whole)
        load_model_weights(path)


def test_what_is_no_model_is_refused(tmp_path):
    mark = tmp_path / "executed"
    torch.save({"x": Exploit(mark)}, tmp_path / "hostile.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "empty").mkdir()
    write_checkpoint(tmp_path, 1, {"other": 1})
    for name, sentence in {
        "hostile.pt": "nothing in it executed",
        "list.pt": "neither a checkpoint nor a state dict",
        "numbers.pt": "neither a checkpoint nor a state dict",
        "text.pt": "was refused",
        "text.safetensors": "damaged or no safetensors file",
        "empty": "neither model.safetensors nor a checkpoint",
        "step-00000001.pt": "holds no weights",
        "absent": "there is no file or folder",
    }.items():
        with pytest.raises(CheckpointError, match=sentence):
            load_model_weights(tmp_path / name)
    assert not mark.exists()


def test_tied_weights_are_written_twice(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    save_model_weights(model, tmp_path / "model.safetensors")
    assert_same(load_model_weights(tmp_path / "model.safetensors"), dict(model.state_dict()))


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot write .*No space left"):
        save_model_weights(nn.Linear(1, 1), tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
