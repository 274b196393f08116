"""Sets of the hub, with the library's own objects in memory instead of a network."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.data import files
from unshaken.data import DataError, load

COUNT = 20


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Answers of ``load_dataset`` by split; and the arguments it was called with."""
    library = pytest.importorskip("datasets")
    answer: dict[str, Any] = {}

    def load_dataset(name: str, config: str | None = None, revision: str | None = None) -> Any:
        answer["called"] = (name, config, revision)
        if "fails" in answer:
            raise answer["fails"]
        return library.DatasetDict(answer["splits"])

    monkeypatch.setattr(library, "load_dataset", load_dataset)
    answer["part"] = lambda **changed: part(library, **changed)
    answer["splits"] = {"train": part(library), "test": part(library)}
    return answer


def part(library: Any, image: str = "image", label: str = "label", kind: str = "PNG") -> Any:
    pictures = [
        {"bytes": files.picture_bytes(p, kind), "path": None} for p in files.pixels(COUNT, 4, 5, 3)
    ]
    columns = {image: pictures, label: [i % 2 for i in range(COUNT)]}
    features = {image: library.Image(), label: library.ClassLabel(names=["a", "b"])}
    return library.Dataset.from_dict(columns, features=library.Features(features))


def test_pictures_and_labels(hub: dict[str, Any]) -> None:
    data = load("hub:someone/some-set@v1.0", normalize="none")
    assert hub["called"] == ("someone/some-set", None, "v1.0")
    expected = torch.from_numpy(files.pixels(COUNT, 4, 5, 3)).permute(0, 3, 1, 2).float()
    assert torch.equal(data.x_train, expected)
    assert data.y_train.tolist() == [i % 2 for i in range(COUNT)]
    assert "v1.0" in data.info["source"] and data.info["note"] == ""


def test_columns_by_their_type_and_other_splits(hub: dict[str, Any]) -> None:
    own = hub["part"](image="scan", label="finding", kind="JPEG")
    hub["splits"] = {"train": own, "validation": own}
    data = load("hub:someone/some-set")
    assert len(data.x_test) == COUNT
    assert "'validation' tests" in data.info["note"] and "JPEG" in data.info["note"]
    hub["splits"] = {"train": own}
    data = load("hub:someone/some-set")
    assert len(data.x_test) == COUNT // 5 and "fifth" in data.info["note"]


def test_the_commit_that_was_read_is_noted(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    kept = [{"filename": f"/cache/someone___some-set/default/0.0.0/{commit}/some-set-train.arrow"}]
    monkeypatch.setattr(type(hub["splits"]["train"]), "cache_files", kept)
    source = "Hugging Face hub, someone/some-set at "
    for name, words in (("", commit), (f"@{commit}", commit), ("@v1", f"v1, commit {commit}")):
        assert load(f"hub:someone/some-set{name}").info["source"] == source + words


def test_the_library_itself_on_a_set_with_two_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the working directory stands for the hub, as the library allows."""
    library = pytest.importorskip("datasets")
    folder = tmp_path / "someone" / "two-sets"
    lines = [
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train.parquet"
        for name in ("large", "small")
    ]
    for name, image in (("large", files.pixels(COUNT, 4, 5, 3)), ("small", files.pixels(10, 6, 6))):
        (folder / name).mkdir(parents=True)
        pictures = [files.picture_bytes(p) for p in image]
        files.write_parquet(folder / name / "train.parquet", pictures, [0, 1] * (len(image) // 2))
    (folder / "README.md").write_text("---\nconfigs:\n" + "\n".join(lines) + "\n---\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = load("hub:someone/two-sets:small")
    assert data.x_train.shape == (8, 1, 6, 6) and "(small)" in data.info["source"]
    for wrong, got in (("", "none"), (":tiny", "tiny")):
        with pytest.raises(DataError, match=f"configurations large, small, got {got}$"):
            load(f"hub:someone/two-sets{wrong}")


def test_errors(hub: dict[str, Any]) -> None:
    for name in (
        "hub:nobody",
        "hub:a/b@",
        "hub:../x",
        "hub:a/b@-c",
        "hub:a/b c",
        "hub:a/b:",
        "hub:a/b:/",
    ):
        with pytest.raises(ValueError, match="expected hub:OWNER/NAME"):
            load(name)
    train = hub["splits"]["train"]
    hub["splits"] = {"test": train}
    with pytest.raises(DataError, match="expected a split called train, got test"):
        load("hub:someone/some-set")
    hub["splits"] = {"train": train.remove_columns("label"), "test": train}
    with pytest.raises(DataError, match=r"column label or .* of type ClassLabel, got image"):
        load("hub:someone/some-set")
    hub["fails"] = ConnectionError("offline mode is enabled")
    with pytest.raises(DataError, match=r"hub:someone/some-set: .*offline mode is enabled"):
        load("hub:someone/some-set")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ImportError, match="reading from the hub needs datasets"):
        load("hub:someone/some-set")
