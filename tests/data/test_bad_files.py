"""Damaged, hostile and wrong files: one sentence each, and nothing executed.

Every row writes a bad file into a folder and names what to load; the sentence must name the file
and say what was expected and what came.
"""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.data import files
from tests.data.damage import (
    Hostile,
    Writer,
    cifar,
    cifar_bytes,
    empty_class,
    flipped_gzip,
    flipped_npz,
    gray16,
    hostile_archive,
    idx,
    missing_npy,
    new_test_class,
    npz,
    npz_with,
    one_class,
    only_train,
    parquet,
    pickled_npy,
    pictures,
    put,
    raw,
    svhn,
    truncated_gzip,
    truncated_mat,
    truncated_npz,
    truncated_parquet,
    unreadable,
)
from unshaken.data import DataError, load

NAN = np.full((8, 1, 4, 4), np.nan, np.float32)
HUGE = np.full((8, 3), 1e300)
RAGGED = np.array([[1], [2, 3]], dtype=object)
GIANT = (
    b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999999,), }".ljust(117)
    + b"\n"
)
ONES = np.ones((4, 1), np.uint8)
BYTES = files.pixels(32, 32, 3, 4)
LABELS_DEEP = files.idx_bytes(files.pixels(20, 2))
WIDE = files.idx_bytes(files.pixels(20, 6, 5))

BAD: dict[str, tuple[Writer, str]] = {
    # IDX
    "idx: truncated gzip": (truncated_gzip, r"train-images.*EOFError"),
    "idx: flipped bit": (flipped_gzip, r"train-images"),
    "idx: not gzip": (raw("train-images-idx3-ubyte.gz", b"hello"), r"BadGzipFile"),
    "idx: wrong magic": (idx(train_images=b"\1\2\3\4" * 9), r"magic number of IDX, got '01 02"),
    "idx: empty": (idx(t10k_labels=b""), r"t10k-labels.*magic number of IDX, got ''"),
    "idx: no sizes": (idx(train_images=b"\0\0\x08\x03\0\0"), r"expected 3 sizes"),
    "idx: truncated": (idx(t10k_images=files.idx_bytes(files.pixels(10, 5, 5))[:-7]), r"got 243"),
    "idx: too long": (idx(t10k_images=files.idx_bytes(files.pixels(10, 5, 5)) + b"x"), r"got more"),
    "idx: giant sizes": (
        idx(train_images=b"\0\0\x08\x03" + b"\xff" * 12),
        r"train-images.*at most 1099511627776 bytes, got \(4294967295, 4294967295, 4294967295\)",
    ),
    "idx: missing file": (idx(train_labels=None), r"expected train-labels.* got neither"),
    "idx: labels with two axes": (idx(train_labels=LABELS_DEEP), r"1 axes, got uint8 \(20, 2\)"),
    "idx: images with one axis": (
        idx(train_images=files.idx_bytes(files.pixels(20))),
        r"3 axes, got uint8 \(20,\)",
    ),
    "idx: mismatched lengths": (
        idx(train_images=files.idx_bytes(files.pixels(19, 5, 5))),
        r"as many labels as examples, got x_train \(19, 1, 5, 5\) and y_train \(20,\)",
    ),
    "idx: sizes differ": (idx(train_images=WIDE), r"examples of shape \(1, 6, 5\) as in x_train"),
    "idx: unreadable": (unreadable, r"t10k-labels"),
    # CIFAR
    "cifar: hostile pickle": (cifar_bytes(pickle.dumps(Hostile())), r"posix.mkdir.*not allowed"),
    "cifar: hostile pickle in an archive": (hostile_archive, r"posix.mkdir.*not allowed"),
    "cifar: hostile inside a batch": (cifar(extra=Hostile()), r"posix.mkdir.*not allowed"),
    "cifar: builtins": (cifar_bytes(b"cbuiltins\neval\n(S'1'\ntR."), r"builtins.eval.*not allowed"),
    "cifar: persistent id": (cifar_bytes(b"Pevil\n."), r"persistent"),
    "cifar: truncated": (cifar_bytes(pickle.dumps(files.cifar_batch())[:-99]), r"data_batch_2"),
    "cifar: not a pickle": (cifar_bytes(b"\x89PNG"), r"data_batch_2.*reading it failed"),
    "cifar: a list": (cifar_bytes(pickle.dumps([1])), r"pickled dictionary, got list"),
    "cifar: no data": (cifar(data=None), r"bytes of shape \(N, 3072\), got NoneType"),
    "cifar: narrow images": (cifar(data=files.pixels(10, 7)), r"\(N, 3072\), got \(10, 7\)"),
    "cifar: floats": (cifar(data=np.zeros((10, 3072))), r"array of bytes \(uint8\)"),
    "cifar: objects": (cifar(data=np.array([None])), r"array of bytes \(uint8\)"),
    "cifar: label 10": (cifar(labels=[10] * 10), r"labels 0 .. 9, got 10"),
    "cifar: negative label": (cifar(labels=[-1] * 10), r"labels from 0 on, got -1"),
    "cifar: fractional label": (cifar(labels=[0.5] * 10), r"labels: expected a list of whole"),
    "cifar: giant label": (cifar(labels=[2**70] * 10), r"labels below 2\^63"),
    "cifar: mismatched lengths": (cifar(labels=[1] * 9), r"got 9 and 10"),
    "cifar: damaged archive": (raw("cifar-10-python.tar.gz", b"\x1f\x8bxx"), r"cifar-10-python"),
    "cifar: empty archive": (
        lambda folder: files.write_cifar_archive(folder / "cifar-10-python.tar.gz", {}),
        r"expected cifar-10-batches-py/data_batch_1, got no such file",
    ),
    # SVHN
    "svhn: label 0": (svhn(BYTES, ONES * 0), r"1 .. 10 \(10 is the digit 0\), got 0"),
    "svhn: label 11": (svhn(BYTES, ONES * 11), r"1 .. 10 .*, got 11"),
    "svhn: fractional label": (svhn(BYTES, ONES * 1.5), r"1 .. 10 .*, got 1.5"),
    "svhn: one class": (svhn(BYTES, ONES), r"at least 2 classes, got the label 1 only"),
    "svhn: mismatched lengths": (svhn(BYTES, ONES[:3]), r"shape \(4, 1\), got uint8 \(3, 1\)"),
    "svhn: floats": (svhn(BYTES / 255, ONES), r"X: expected bytes.*got float64"),
    "svhn: truncated": (truncated_mat, r"train_32x32.mat.*X and y"),
    "svhn: not a .mat": (raw("train_32x32.mat", b"hello" * 99), r"train_32x32.mat.*another format"),
    # npz
    "npz: not a zip": (raw("bad.npz", b"hello"), r"expected a zip archive, got another format"),
    "npz: empty file": (raw("bad.npz", b""), r"expected a zip archive"),
    "npz: a pickle": (raw("bad.npz", pickle.dumps(Hostile())), r"expected a zip archive"),
    "npz: truncated": (truncated_npz, r"bad.npz.*BadZipFile"),
    "npz: flipped bit": (flipped_npz, r"bad.npz.*CRC"),
    "npz: pickle inside": (npz_with(pickle.dumps(Hostile())), r"bad.npz"),
    "npz: giant header": (npz_with(GIANT), r"bad.npz"),
    "npz: missing arrays": (npz(x_test=None, y_test=None), r"got no x_test, y_test among x_train"),
    "npz: objects": (npz(x_train=RAGGED), r"bad.npz.*numbers, got Python objects .*a numeric type"),
    "npz: hostile objects": (npz(y_train=np.array([Hostile()])), r"bad.npz.*got Python objects"),
    "npz: NaN": (npz(x_train=NAN, x_test=NAN[:4]), r"x_train: expected finite.*in example 0"),
    "npz: infinity in float32": (npz(x_train=HUGE, x_test=HUGE[:4]), r"finite values in float32"),
    "npz: text": (npz(x_train=np.array([["a"]] * 8)), r"x_train: expected numbers.*got <U1"),
    "npz: complex": (npz(x_train=np.ones((8, 2), complex)), r"expected numbers.*got complex128"),
    "npz: whole-number pixels": (
        npz(x_train=np.ones((8, 1, 4, 4), np.int64)),
        r"pixels as uint8 .* got int64",
    ),
    "npz: two types": (
        npz(x_train=np.ones((8, 1, 4, 4), np.float32)),
        r"inputs of one type, got float32, uint8",
    ),
    "npz: mismatched lengths": (
        npz(y_train=np.arange(7) % 2),
        r"x_train \(8, 1, 4, 4\) and y_train \(7,\)",
    ),
    "npz: sizes differ": (npz(x_test=files.pixels(4, 1, 4, 5)), r"got \(1, 4, 5\)"),
    "npz: unlabeled sizes differ": (
        npz(x_unlabeled=files.pixels(4, 1, 5, 5)),
        r"x_unlabeled: expected examples of shape \(1, 4, 4\)",
    ),
    "npz: no example": (
        npz(x_test=files.pixels(0, 1, 4, 4), y_test=np.zeros(0, int)),
        r"y_test: expected at least one label, got none",
    ),
    "npz: one axis": (npz(x_train=np.zeros(8, np.uint8)), r"expected a non-empty \(N, C"),
    "npz: no axis": (npz(x_train=np.uint8(3)), r"x_train \(\)"),
    "npz: one class": (npz(y_train=np.ones(8, int)), r"2 classes, got the label 1 only"),
    "npz: negative label": (npz(y_train=np.arange(8) % 2 - 1), r"got -1; .* x_unlabeled"),
    "npz: fractional label": (npz(y_train=np.arange(8) / 2), r"whole numbers, got 0.5"),
    "npz: NaN label": (npz(y_train=np.full(8, np.nan)), r"whole numbers, got nan"),
    "npz: gap in the labels": (npz(y_train=np.arange(8) % 2 * 2), r"0 .. 2, got none of 1"),
    "npz: giant label": (npz(y_train=np.arange(8) % 2 * 2**60), r"got none of 1$"),
    "npz: test label out of range": (npz(y_test=np.arange(4)), r"y_test: .* 0 .. 1, got 3"),
    "npz: one-hot labels": (npz(y_train=np.eye(8)), r"shape \(N,\), got float64 \(8, 8\)"),
    "npz: text labels": (npz(y_train=np.array(["a"] * 8)), r"whole numbers.*got <U1"),
    "npz: moons without embedding": (
        npz(x_labeled=np.zeros((4, 2)), y_labeled=np.zeros(4)),
        r"beside x_labeled, got no embedding",
    ),
    # Arrays in files of their own, tables
    "npy: missing array": (missing_npy, r"got no y_train, x_test, y_test among x_train"),
    "npy: pickled": (pickled_npy, r"x_train.npy.*numbers, got Python objects"),
    "npy: another file": (
        lambda folder: raw("x_train.npy", b"hello")(folder).parent,
        r"x_train.npy: expected an array of numbers \(.npy\), got another format",
    ),
    "csv: text": (raw("t.csv", b"a,b\n1,2\nx,3\n"), r"t.csv: expected numbers separated by commas"),
    "csv: a missing cell": (raw("t.csv", b"a,b\n1,2\n,3\n"), r"t.csv: expected numbers"),
    "csv: ragged": (raw("t.csv", b"a,b\n1,2\n1,2,3\n"), r"t.csv: expected numbers"),
    "csv: NaN": (
        raw("t.csv", b"a,b\n1,0\nnan,0\n1,1\n1,1\n"),
        r"t.csv: .*NaN or infinity in line 3$",
    ),
    "csv: NaN label": (raw("t.csv", b"1,nan\n1,0\n1,1\n1,1\n"), r"label in each row, got NaN"),
    "csv: one column": (raw("t.csv", b"1\n2\n"), r"got one column"),
    "csv: one example of a class": (raw("t.csv", b"1,0\n2,0\n3,1\n"), r"2 examples of class 1"),
    "csv: fractional label": (raw("t.csv", b"1,.5\n2,.5\n3,1\n3,1\n"), r"whole numbers, got 0.5"),
    # Pictures
    "pictures: damaged": (pictures(put("cat/9.png", b"\x89PNG")), r"cat/9.png: expected a picture"),
    "pictures: truncated": (
        pictures(put("dog/9.png", files.picture_bytes(files.pixels(6, 5, 3))[:80])),
        r"dog/9.png: expected a picture",
    ),
    "pictures: mixed sizes": (
        pictures(put("dog/9.png", files.picture_bytes(files.pixels(6, 7, 3)))),
        r"dog/9.png: expected a picture of 5 x 6 pixels like the first, got 7 x 6",
    ),
    "pictures: 16 bits": (pictures(gray16), r"cat/9.png: expected a picture of 8 bits"),
    "pictures: empty class": (pictures(empty_class), r"bird: expected pictures .* got none"),
    "pictures: one class": (pictures(one_class), r"at least 2 classes, got only cat"),
    "pictures: no class": (lambda folder: folder, r"at least 2 classes, got none"),
    "pictures: no test": (pictures(only_train), r"train/CLASS and test/CLASS, .* got only train"),
    "pictures: new class in test": (new_test_class, r"bird: expected one of the classes in train"),
    # Parquet
    "parquet: truncated": (truncated_parquet, r"train.parquet: expected a parquet file"),
    "parquet: not parquet": (
        lambda folder: raw("train.parquet", b"hello")(folder).parent,
        r"train.parquet: expected a parquet file",
    ),
    "parquet: no label": (parquet([b"x"], [0], label="other"), r"column label or .* got image"),
    "parquet: no image": (parquet([b"x"], [0], image="other"), r"column image or img, got other"),
    "parquet: no bytes": (parquet([None, None], [0, 1]), r"bytes of a picture in row 0, got None"),
    "parquet: not pictures": (parquet([b"x", b"y"], [0, 1]), r"row 0: expected a picture"),
    "parquet: no label in a row": (
        parquet([files.picture_bytes(files.pixels(4, 4))] * 3, [0, 1, None]),
        r"y_train: expected whole numbers, got nan",
    ),
    # Anything else
    "another format": (
        raw("data.txt", b"hello"),
        r"data.txt: expected an .npz file.* by the folder of",
    ),
    "no such path": (lambda folder: folder / "absent", r"an existing path, .* got '.*absent'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file_is_one_sentence(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    write, message = BAD[case]
    location = write(folder)
    # A single file of IDX, CIFAR or SVHN is found by its folder, as a user would name it.
    by_folder = location.suffix == ".mat" or location.name.startswith("train-images")
    with pytest.raises(DataError, match=message) as caught:
        load(str(location.parent if by_folder else location))
    sentence = str(caught.value)
    assert "\n" not in sentence and "expected" in sentence and str(tmp_path) in sentence
    assert not Path("executed").exists()


def test_there_are_enough_bad_files() -> None:
    assert len(BAD) >= 30


def test_a_function_of_the_unpickler_cannot_be_changed() -> None:
    from unshaken.data.unpickling import read_pickle

    # GLOBAL _codecs.encode, then BUILD with a state: would set attributes on a plain function.
    program = b"c_codecs\nencode\n(dS'x'\nI1\nsb."
    with pytest.raises(DataError, match="no state for a function"):
        read_pickle("program", program)


def test_gzip_with_too_much(tmp_path: Path) -> None:
    content = files.idx_bytes(files.pixels(20, 5, 5)) + b"\0" * 50_000_000
    files.write_idx_folder(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content, 1))
    with pytest.raises(DataError, match="got more"):
        load(str(tmp_path))
