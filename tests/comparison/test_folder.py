import json
import math

import pytest

from unshaken.comparison.folder import (
    ComparisonFolder,
    plain,
    read_record,
    require_folder,
    write_json,
    write_record,
)

RECORD = {
    "method": "vat",
    "seed": 3,
    "fingerprint": "abc",
    "error": 4.25,
    "train_error": 0.0,
    "seconds_per_step": 1.1e-3,
    "steps": 10,
    "history": [{"step": 10, "loss": 0.1}],
}


def test_a_record_comes_back(tmp_path):
    path = tmp_path / "runs" / "vat" / "seed-3.json"
    write_record(path, RECORD)
    assert read_record(path) == RECORD
    assert read_record(tmp_path / "none") is None


def test_every_damaged_byte_is_noticed(tmp_path):
    path = tmp_path / "seed-3.json"
    write_record(path, RECORD)
    whole = path.read_bytes()
    for k in range(len(whole)):
        path.write_bytes(whole[:k])
        assert read_record(path) is None, k
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :])
        # A blank turned into another byte that JSON passes over is no damage.
        assert read_record(path) in (None, RECORD), k
    for content in (b"[]", b"3", b"null", b'{"method": "vat"}', b"\xff"):
        path.write_bytes(content)
        assert read_record(path) is None


def test_a_record_without_its_numbers_is_none(tmp_path):
    path = tmp_path / "seed-3.json"
    write_record(path, {**RECORD, "error": math.nan})
    assert read_record(path) is None
    write_record(path, {"method": "vat", "seed": 3, "failed": "NaN", "fingerprint": "abc"})
    assert read_record(path) is not None


def test_only_a_run_of_the_same_kind_is_finished(tmp_path):
    folder = ComparisonFolder(tmp_path)
    write_record(folder.run("vat", 3), RECORD)
    assert folder.finished("vat", 3, "abc") == RECORD
    assert folder.finished("vat", 3, "abd") is None
    assert folder.finished("vat", 4, "abc") is None
    # A file that was put in another one's place.
    folder.run("xvat", 3).parent.mkdir(parents=True)
    folder.run("xvat", 3).write_bytes(folder.run("vat", 3).read_bytes())
    assert folder.finished("xvat", 3, "abc") is None
    folder.close()


def test_leftovers_are_removed_and_the_folder_is_ours_alone(tmp_path):
    left = tmp_path / "runs" / "vat" / ".seed-0.json.partial"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    folder = ComparisonFolder(tmp_path)
    assert not left.exists()
    with pytest.raises(ValueError, match="another process is comparing in"):
        ComparisonFolder(tmp_path)
    folder.close()
    folder.close()
    ComparisonFolder(tmp_path).close()


def test_json_holds_no_nan(tmp_path):
    value = {"a": [math.nan, (math.inf, -math.inf)], 3: {"b": math.nan, "c": 1.5, "d": "NaN"}}
    assert plain(value) == {"a": [None, [None, None]], "3": {"b": None, "c": 1.5, "d": "NaN"}}
    write_json(tmp_path / "x" / "y.json", value)
    assert json.loads((tmp_path / "x" / "y.json").read_text()) == plain(value)


def test_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"out must be a folder that can be written, got .*file"):
        require_folder(tmp_path / "file" / "below")
    require_folder(tmp_path / "new" / "one")
    assert list((tmp_path / "new" / "one").iterdir()) == []
