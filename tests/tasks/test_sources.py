"""Finding and downloading original files."""

from __future__ import annotations

import hashlib
import http.server
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sleepgym.core.errors import MissingData
from sleepgym_tasks.data import source_files, sources

CONTENT = b'{"domain": ["a", "b"]}'
KEY = ("clinc150", "domains.json")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        length = len(CONTENT) + (10 if self.path == "/cut" else 0)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No data folder, no proxy, an empty cache."""
    for name in ("SLEEPGYM_DATA", "SLEEPGYM_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLEEPGYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch, address: str):
    """Point domains.json at a path of the local server."""

    def pin(path: str = "/ok", content: bytes = CONTENT) -> None:
        digest = hashlib.sha256(content).hexdigest()
        file = replace(source_files.FILES[KEY], url=address + path, sha256=digest)
        monkeypatch.setitem(source_files.FILES, KEY, file)

    return pin


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_download_is_verified_and_kept(pinned, nothing_set):
    pinned()
    path = sources.locate(*KEY)
    assert path == nothing_set / "clinc150" / "domains.json"
    assert path.read_bytes() == CONTENT
    assert files_under(nothing_set) == [path]
    pinned("/gone")
    assert sources.locate(*KEY) == path


def test_a_damaged_cache_is_fetched_again(pinned, nothing_set):
    pinned()
    path = sources.locate(*KEY)
    path.write_bytes(b"damaged")
    assert sources.locate(*KEY).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "content", "what"),
    [
        ("/ok", b"other", "sha256 is"),
        ("/cut", b"other", "sha256|Incomplete"),
        ("/gone", CONTENT, "Not Found"),
    ],
)
def test_a_bad_download_leaves_nothing(pinned, nothing_set, path, content, what):
    pinned(path, content)
    with pytest.raises(MissingData, match=what) as caught:
        sources.locate(*KEY)
    assert files_under(nothing_set) == []
    assert "\n" not in str(caught.value)


def test_an_unreachable_server_says_what_to_put_where(monkeypatch, nothing_set):
    file = replace(source_files.FILES[KEY], url="http://127.0.0.1:1/x")
    monkeypatch.setitem(source_files.FILES, KEY, file)
    with pytest.raises(MissingData, match=r"DIR/clinc150/domains\.json .*http://127") as caught:
        sources.locate(*KEY)
    assert "\n" not in str(caught.value)
    assert files_under(nothing_set) == []


@pytest.mark.parametrize("name", ["SLEEPGYM_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_does_not_touch_the_network(monkeypatch, pinned, nothing_set, name):
    pinned()
    monkeypatch.setenv(name, "1")
    with pytest.raises(MissingData, match="downloads are off"):
        sources.locate(*KEY)
    assert not nothing_set.exists()


def test_a_file_without_a_pin_is_never_downloaded():
    with pytest.raises(MissingData, match=r"dbpedia/DBPEDIA_train\.csv .*no exact version"):
        sources.locate("dbpedia", "DBPEDIA_train.csv")


def test_the_users_folder_comes_first_and_may_hold_another_version(monkeypatch, pinned, tmp_path):
    pinned("/gone")
    (tmp_path / "clinc150").mkdir()
    own = tmp_path / "clinc150" / "domains.json"
    own.write_text("{}")
    assert sources.locate(*KEY, data=tmp_path) == own
    monkeypatch.setenv("SLEEPGYM_DATA", str(tmp_path))
    assert sources.locate(*KEY) == own
    assert sources.locate(*KEY, data=str(tmp_path)) == own


def test_a_folder_that_lacks_the_file_falls_back_to_the_download(pinned, tmp_path):
    pinned()
    assert sources.locate(*KEY, data=tmp_path).read_bytes() == CONTENT


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(MissingData, match=r"--data .*nowhere"):
        sources.locate(*KEY, data=tmp_path / "nowhere")


def test_the_cache_folder_is_the_platforms(monkeypatch):
    monkeypatch.delenv("SLEEPGYM_CACHE")
    for platform in ("linux", "darwin", "win32"):
        monkeypatch.setattr(sources.sys, "platform", platform)
        assert sources.cache_folder().name == "sleepgym"


def test_every_pin_is_a_sha256_and_every_address_https():
    for (folder, name), file in source_files.FILES.items():
        assert (folder, name) == (file.folder, file.name)
        assert file.url.startswith("https://")
        assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16))


def test_the_original_files_have_the_pinned_sha256(real_data):
    at_hand = [
        file
        for file in source_files.FILES.values()
        if file.sha256 and (real_data / file.folder / file.name).is_file()
    ]
    assert at_hand
    for file in at_hand:
        assert sources.sha256_of(real_data / file.folder / file.name) == file.sha256
