"""Sets of the hub, with the library's own objects in memory instead of a network."""

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

    def load_dataset(name: str, revision: str | None = None) -> Any:
        answer["called"] = (name, revision)
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
    assert hub["called"] == ("someone/some-set", "v1.0")
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


def test_errors(hub: dict[str, Any]) -> None:
    for name in ("hub:nobody", "hub:a/b@", "hub:../x", "hub:a/b@-c", "hub:a/b c"):
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
