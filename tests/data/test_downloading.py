"""Downloads, from a server of our own."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.data import files
from unshaken.data import DataError, checksums, downloading, load
from unshaken.data.downloading import FILES, Remote, fetch


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_fetched_checked_and_read(
    server: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = server
    files.write_idx_folder(folder)
    published = {}
    remotes = []
    for name in checksums.MNIST:
        plain, packed = folder / name, folder / f"{name}.gz"
        if plain.exists():
            packed.write_bytes(gzip.compress(plain.read_bytes()))
        published[name] = md5(gzip.decompress(packed.read_bytes()))
        remotes.append(Remote(f"{url}/{name}.gz", published[name], decompressed=True))
    monkeypatch.setattr("unshaken.data.idx.MNIST", published)
    monkeypatch.setitem(FILES, "mnist", remotes)
    root = tmp_path / "root"
    with pytest.raises(DataError, match="download=True"):
        load("mnist", root=root)
    assert not root.exists()
    data = load("mnist", root=root, download=True)
    assert len(data.x_train) == 20
    assert sorted(p.name for p in (root / "mnist").iterdir()) == sorted(
        f"{name}.gz" for name in published
    )
    # What is there is not fetched again.
    monkeypatch.setattr(downloading, "_fetch", lambda *_: pytest.fail("fetched again"))
    load("mnist", root=root, download=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"other", "expected the published content of MD5"), (None, "HTTP Error 404")],
)
def test_nothing_stays_of_a_failed_download(
    server: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    message: str,
) -> None:
    folder, url = server
    if content is not None:
        (folder / "a.mat").write_bytes(content)
    monkeypatch.setitem(FILES, "svhn", [Remote(f"{url}/a.mat", md5(b"published"))])
    with pytest.raises(DataError, match=f"{url}/a.mat: expected .*{message}|{message}"):
        fetch("svhn", tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "svhn", [Remote("http://127.0.0.1:9/a.mat", "")])
    with pytest.raises(DataError, match=r"expected a file to download, .*URLError"):
        fetch("svhn", tmp_path)


def test_every_published_name_has_its_files() -> None:
    assert set(FILES) == {"mnist", "svhn", "cifar10", "cifar100"}
    for remotes in FILES.values():
        assert all(len(remote.md5) == 32 for remote in remotes)
