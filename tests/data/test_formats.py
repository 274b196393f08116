"""Every format that loads, from small files written here."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from tests.data import files
from unshaken.data import DataError, load, write_arrays

MEMBERS = ("cifar-100-python/train", "cifar-100-python/test")


def test_idx_folder_by_its_path(tmp_path: Path) -> None:
    data = load(str(files.write_idx_folder(tmp_path)))
    expected = torch.from_numpy(files.pixels(20, 5, 5))[:, None].float() / 255 - 0.5
    torch.testing.assert_close(data.x_train, expected)
    assert data.y_train.tolist() == [i % 10 for i in range(20)]
    assert data.classes == 10 and len(data.x_test) == 10


def test_mnist_by_name_must_be_the_published_files(tmp_path: Path) -> None:
    files.write_idx_folder(tmp_path / "mnist")
    with pytest.raises(DataError, match="published content of MD5 6bbc9ace898e44ae"):
        load("mnist", root=tmp_path)


@pytest.mark.parametrize("protocol", [2, 4])
def test_cifar_folder(tmp_path: Path, protocol: int) -> None:
    batch = files.cifar_batch(data=np.asfortranarray(files.pixels(10, 3072)))
    files.write_cifar(tmp_path, pickle.dumps(batch, protocol=protocol))
    for path in (tmp_path, tmp_path / "cifar-10-batches-py"):
        data = load(str(path), normalize="unit")
        assert data.x_train.shape == (50, 3, 32, 32) and data.x_test.shape == (10, 3, 32, 32)
        same = torch.from_numpy(files.pixels(10, 3072).reshape(10, 3, 32, 32)) / 255
        torch.testing.assert_close(data.x_train[10:20], same)
        assert data.y_train[:10].tolist() == list(range(10))


def test_cifar_archive(tmp_path: Path) -> None:
    batch = files.cifar_batch(200, "fine_labels", fine_labels=[i % 100 for i in range(200)])
    content = pickle.dumps(batch, protocol=2)
    path = files.write_cifar_archive(
        tmp_path / "cifar-100-python.tar.gz",
        {"cifar-100-python/train": content, "cifar-100-python/test": content, "../evil": b"x"},
    )
    data = load(str(path))
    assert data.classes == 100 and data.x_train.shape == (200, 3, 32, 32)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]
    assert load(str(tmp_path)).classes == 100
    with pytest.raises(DataError, match="published content of MD5"):
        load("cifar100", root=tmp_path)


def test_cifar_as_python_2_wrote_it(tmp_path: Path) -> None:
    """The layout of the published archives: an own writer, checked by the ordinary reader."""
    names = {"batch_label": "training batch 1 of 1", "filenames": [f"{i}.png" for i in range(300)]}
    fine, coarse = [i % 100 for i in range(300)], [i % 20 for i in range(300)]
    images = files.pixels(300, 3072)
    batch = {**names, "fine_labels": fine, "coarse_labels": coarse, "data": images}
    content = files.python2_pickle(batch)
    ordinary = pickle.loads(content, encoding="latin-1")
    np.testing.assert_array_equal(ordinary.pop("data"), images)
    assert ordinary == {k: v for k, v in batch.items() if k != "data"}

    members = {"cifar-100-python/meta": b"", **dict.fromkeys(MEMBERS, content)}
    files.write_cifar_archive(tmp_path / "cifar-100-python.tar.gz", members)
    packed = load(str(tmp_path), normalize="none")
    for name in MEMBERS:
        (tmp_path / "extracted" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "extracted" / name).write_bytes(content)
    for data in (packed, load(str(tmp_path / "extracted"), normalize="none")):
        assert data.y_train.tolist() == fine and data.classes == 100
        # The first 1024 values of a row are red, row by row.
        expected = torch.from_numpy(images.reshape(300, 3, 32, 32)).float()
        assert torch.equal(data.x_train, expected) and torch.equal(data.x_test, expected)


def test_svhn(tmp_path: Path) -> None:
    images, labels = files.pixels(32, 32, 3, 20), (np.arange(20) % 10 + 1)[:, None]
    for part in ("train", "test"):
        savemat(tmp_path / f"{part}_32x32.mat", {"X": images, "y": labels.astype(np.uint8)})
    data = load(str(tmp_path))
    assert data.x_train.shape == (20, 3, 32, 32)
    assert data.y_train[8:11].tolist() == [9, 0, 1]
    assert data.x_train[7, 1, 4, 5] == pytest.approx(images[4, 5, 1, 7] / 255 - 0.5)
    with pytest.raises(DataError, match="published content of MD5"):
        load("svhn", root=tmp_path)


@pytest.mark.parametrize("names", [("image", "label"), ("img", "fine_label")])
def test_parquet_shards(tmp_path: Path, names: tuple[str, str]) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("PIL")
    (tmp_path / "data").mkdir()
    images = [files.picture_bytes(image) for image in files.pixels(6, 4, 5, 3)]
    for shard, part in enumerate((slice(0, 4), slice(4, 6))):
        path = tmp_path / "data" / f"train-0000{shard}-of-00002.parquet"
        labels = [0, 1, 1, 0, 1, 0][part]
        files.write_parquet(path, images[part], labels, image=names[0], label=names[1])
    files.write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", images[:2], [0, 1])
    data = load(str(tmp_path), normalize="none")
    expected = torch.from_numpy(files.pixels(6, 4, 5, 3)).permute(0, 3, 1, 2).float()
    assert torch.equal(data.x_train, expected)
    assert data.y_train.tolist() == [0, 1, 1, 0, 1, 0]
    assert "JPEG" not in data.info["note"]


def test_parquet_by_the_name_of_cifar_says_jpeg(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("PIL")
    folder = tmp_path / "cifar10"
    folder.mkdir()
    images = [files.picture_bytes(image, "JPEG") for image in files.pixels(3, 32, 32, 3)]
    for part in ("train", "test"):
        files.write_parquet(folder / f"{part}.parquet", images, [0, 9, 4])
    data = load("cifar10", root=tmp_path)
    assert "JPEG re-encoding" in data.info["note"] and data.classes == 10


def test_folder_of_pictures_with_one_level(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    data = load(str(files.write_pictures(tmp_path, count=10)), normalize="none")
    assert data.x_train.shape == (16, 3, 6, 5) and data.x_test.shape == (4, 3, 6, 5)
    assert data.y_test.bincount().tolist() == [2, 2]
    assert "cat, dog" in data.info["source"] and "fifth" in data.info["note"]
    values = torch.cat([data.x_train, data.x_test])[:, 0, 0, 0].sort().values
    assert values.tolist() == [*range(10), *range(100, 110)]
    # A new picture leaves the others where they are.
    before = set(data.x_test[data.y_test == 0, 0, 0, 0].tolist())
    (tmp_path / "cat" / "new.png").write_bytes(
        files.picture_bytes(np.full((6, 5, 3), 77, np.uint8))
    )
    after = set(load(str(tmp_path), normalize="none").x_test[:, 0, 0, 0].tolist())
    assert len(before - after) <= 1


def test_folder_of_pictures_with_train_test_and_unlabeled(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    files.write_pictures(tmp_path / "train", size=(6, 5), count=3)
    files.write_pictures(tmp_path / "test", size=(6, 5), count=2)
    (tmp_path / "unlabeled").mkdir()
    (tmp_path / "unlabeled" / "a.png").write_bytes(files.picture_bytes(files.pixels(6, 5)))
    (tmp_path / "train" / "cat" / ".hidden.png").write_bytes(b"not a picture")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not a picture")
    data = load(str(tmp_path))
    assert data.x_train.shape == (6, 1, 6, 5) and len(data.x_test) == 4
    assert data.x_unlabeled is not None and len(data.x_all) == 7
    # One picture in color: all have three channels.
    (tmp_path / "unlabeled" / "b.png").write_bytes(files.picture_bytes(files.pixels(6, 5, 4)))
    assert load(str(tmp_path)).x_test.shape == (4, 3, 6, 5)


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    content = files.arrays(x_unlabeled=files.pixels(3, 1, 4, 4))
    write_arrays(path, **content)
    data = load(str(path))
    torch.testing.assert_close(
        data.x_train, torch.from_numpy(content["x_train"]).float() / 255 - 0.5
    )
    assert data.name == "own.npz" and len(data.x_all) == 11
    assert torch.equal(data.x_all[8:], data.x_unlabeled)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4, 4), (1, 4, 4)), ((6, 7, 3), (3, 6, 7)), ((3, 6, 7), (3, 6, 7)), ((1, 3, 3, 3),) * 2],
)
def test_npz_of_bytes_puts_channels_first(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    path = tmp_path / "own.npz"
    files.write_npz(path, x_train=files.pixels(8, *shape), x_test=files.pixels(4, *shape))
    assert load(str(path)).x_train.shape[1:] == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((6, 7, 3), (3, 6, 7)), ((6, 7, 1), (1, 6, 7)), ((3, 6, 7), (3, 6, 7)), ((6, 7), (6, 7)),
     ((2, 9, 3), (2, 9, 3)), ((9, 2, 1), (9, 2, 1))],
)  # fmt: skip
def test_npz_of_numbers_puts_the_channels_of_images_first(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).normal(size=(8, *shape))
    path = files.write_npz(tmp_path / "own.npz", x_train=x, x_test=x[:4], y_test=np.zeros(4))
    found = load(str(path)).x_train
    assert found.shape[1:] == expected
    if shape[-1] == 3 != shape[0] and len(shape) == 3 and shape[0] > 4:
        torch.testing.assert_close(found, torch.from_numpy(x).float().movedim(3, 1))


def test_npz_of_numbers_stays_as_it_is(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(8, 3)) * 7
    path = files.write_npz(tmp_path / "own.npz", x_train=x, x_test=x[:4], y_test=np.zeros(4))
    data = load(str(path))
    torch.testing.assert_close(data.x_train, torch.from_numpy(x).float())
    assert data.normalization is None and data.channels == data.features == 3


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_folder_of_arrays(tmp_path: Path, suffix: str) -> None:
    x = np.random.default_rng(0).normal(size=(8, 3))
    for key, value in files.arrays(x_train=x, x_test=x[:4], x_unlabeled=x[:2]).items():
        if suffix == ".npy":
            np.save(tmp_path / f"{key}.npy", value)
        else:
            header = "a,b,c" if key == "x_train" else ""
            np.savetxt(tmp_path / f"{key}.csv", value, delimiter=",", header=header, comments="")
    data = load(str(tmp_path))
    torch.testing.assert_close(data.x_train, torch.from_numpy(x).float())
    assert data.y_train.tolist() == [0, 1] * 4 and len(data.x_all) == 10


@pytest.mark.parametrize("header", ["", "Label,a,b\n", "\ufeffa,b,c\n"])
def test_csv_table(tmp_path: Path, header: str) -> None:
    first = header.startswith("Label")
    rows = [f"{i % 2},{i},0.5" if first else f"{i},0.5,{i % 2}" for i in range(20)]
    path = tmp_path / "table.csv"
    path.write_text(header + "\n".join(rows) + "\n", encoding="utf-8")
    data = load(str(path))
    assert len(data.x_train) == 16 and data.y_test.bincount().tolist() == [2, 2]
    assert torch.equal(data.x_train[:, 0] % 2, data.y_train.float())


def test_published_moons(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    embedding = np.linalg.qr(rng.normal(size=(100, 2)))[0].T
    x = rng.normal(size=(20, 2)) @ embedding
    path = tmp_path / "moons.npz"
    labels = np.arange(20) % 2
    np.savez(
        path,
        x_labeled=x[:4],
        y_labeled=labels[:4],
        x_test=x,
        y_test=labels,
        embedding=embedding,
    )
    data = load(str(path), seed=1)
    assert len(data.x_train) == 4 and len(data.x_test) == 20 and len(data.x_all) == 14
    assert data.plane is not None and data.plane.shape == (2, 100)
    assert not torch.equal(data.x_all, load(str(path), seed=2).x_all)


def test_root_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSHAKEN_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"{tmp_path}.*download=True"):
        load("mnist")


def test_unknown_names_and_normalizations() -> None:
    with pytest.raises(DataError, match=r"expected one of digits, .* got 'nist'"):
        load("nist")
    with pytest.raises(ValueError, match=r"normalize: expected one of none, .* got 'ZCA'"):
        load("digits", normalize="ZCA")


@pytest.mark.parametrize("missing", ["pyarrow.parquet", "PIL.Image"])
def test_missing_library_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    if missing == "PIL.Image":
        for name in ("cat", "dog"):
            (tmp_path / name).mkdir()
            for i in "12":
                (tmp_path / name / f"{i}.png").write_bytes(b"")
    else:
        (tmp_path / "train.parquet").write_bytes(b"")
    with pytest.raises(ImportError, match=r"pip install \"unshaken\[hub\]\"") as caught:
        load(str(tmp_path))
    assert "\n" not in str(caught.value)
