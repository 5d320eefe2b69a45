"""Fetching a release: from a local HTTP server that breaks off, lies, changes its mind or is not there."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from database.results import fetch
from database.results.fetch import FetchError, fetch_release


def build_archive(version: str = "3.0.0", extra: dict[str, bytes] | None = None, mode: str = "w:gz", without: str = "nothing") -> bytes:
    files = {
        "smodels-database-release-3.0.0/version": f"{version}\n".encode(),
        "smodels-database-release-3.0.0/13TeV/CMS/CMS-SUS-19-006/globalInfo.txt": b"id: CMS-SUS-19-006\n",
        "smodels-database-release-3.0.0/13TeV/CMS/CMS-SUS-19-006/padding.bin": random.Random(7).randbytes(400_000),
        **(extra or {}),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in files.items():
            if name.endswith(without):
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Server:
    """What the handler serves and what it was asked for."""

    body: bytes = b""
    etag: str = '"v1"'
    breaks_after: list[int] = field(default_factory=list)
    """Bytes after which the next connections are cut."""
    supports_range: bool = True
    status: int = 200
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            if state.status != 200:
                self.send_error(state.status)
                return
            start = 0
            if asked and state.supports_range and self.headers.get("If-Range") == state.etag:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(state.body) > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(state.body)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.body) - 1}/{len(state.body)}")
            self.send_header("ETag", state.etag)
            self.send_header("Content-Length", str(len(state.body) - start))
            self.end_headers()
            rest = state.body[start:]
            if state.breaks_after:
                rest = rest[: state.breaks_after.pop(0)]
            self.wfile.write(rest)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    state.url = f"http://127.0.0.1:{http.server_port}/release.tar.gz"
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def test_release_is_downloaded_verified_and_cached(server: Server, tmp_path: Path) -> None:
    server.body = build_archive()
    seen: list[tuple[int, int | None]] = []
    path = fetch_release("3.0.0", server.url, tmp_path, hashlib.sha256(server.body).hexdigest(), lambda *now: seen.append(now))
    assert path.read_bytes() == server.body
    assert seen[-1] == (len(server.body), len(server.body))
    assert fetch_release("3.0.0", server.url, tmp_path) == path
    assert len(server.ranges) == 1, "the second call is served from the cache"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"smodels-database-3.0.0{end}" for end in (".json", ".lock", ".tar")]


def test_interrupted_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.body = build_archive(mode="w")
    server.breaks_after = [100_000, 200_000]
    path = fetch_release("3.0.0", server.url, tmp_path, hashlib.sha256(server.body).hexdigest())
    assert path.read_bytes() == server.body
    assert server.ranges[0] is None
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in server.ranges[1:] if asked]
    assert len(starts) == 2
    assert 0 < starts[0] <= 100_000 < starts[1] <= 300_000


def test_download_given_up_is_resumed_by_the_next_call(server: Server, tmp_path: Path) -> None:
    server.body = build_archive(mode="w")
    server.breaks_after = [70_000] * fetch.MAX_ATTEMPTS
    with pytest.raises(FetchError, match="bytes are kept"):
        fetch_release("3.0.0", server.url, tmp_path)
    assert not (tmp_path / "smodels-database-3.0.0.tar").exists()
    assert fetch_release("3.0.0", server.url, tmp_path).read_bytes() == server.body
    assert server.ranges[-1] is not None


@pytest.mark.parametrize("is_changed", [True, False])
def test_download_starts_over_if_it_cannot_be_resumed(server: Server, tmp_path: Path, is_changed: bool) -> None:
    server.body = build_archive("2.9.0", mode="w")
    server.breaks_after = [90_000] * fetch.MAX_ATTEMPTS
    server.supports_range = is_changed
    with pytest.raises(FetchError):
        fetch_release("3.0.0", server.url, tmp_path)
    server.body, server.etag = build_archive(mode="w"), '"v2"'
    assert fetch_release("3.0.0", server.url, tmp_path).read_bytes() == server.body


def test_corrupted_archive_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    whole = build_archive()
    server.body = whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2)
    with pytest.raises(FetchError, match="damaged"):
        fetch_release("3.0.0", server.url, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["smodels-database-3.0.0.lock"]
    server.body = whole[:-8] + bytes(8)  # every member is whole, the checksum at the end is not
    with pytest.raises(FetchError, match="damaged"):
        fetch_release("3.0.0", server.url, tmp_path)
    with pytest.raises(FetchError, match="instead of 00000"):
        fetch_release("3.0.0", server.url, tmp_path, sha256="0" * 64)
    server.body = whole
    assert fetch_release("3.0.0", server.url, tmp_path).is_file()


def test_archive_of_something_else_is_refused(server: Server, tmp_path: Path) -> None:
    server.body = build_archive("2.3.0")
    with pytest.raises(FetchError, match=r"is release 2\.3\.0, not 3\.0\.0"):
        fetch_release("3.0.0", server.url, tmp_path)
    for body in (b"<html>", build_archive(without="globalInfo.txt"), build_archive(without="version")):
        server.body = body
        with pytest.raises(FetchError, match=r"not a release|not a tar archive") as caught:
            fetch_release("3.0.0", server.url, tmp_path)
        assert "\n" not in str(caught.value)


def test_server_errors_are_one_sentence(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(FetchError, match=r"answers 404 Not Found\.$"):
        fetch_release("3.0.0", server.url, tmp_path)
    assert len(server.ranges) == 1, "an error of the server is not retried"
    with pytest.raises(FetchError, match="cannot be fetched"):
        fetch_release("3.0.0", "http://127.0.0.1:9/none.tar.gz", tmp_path)
    for version in ("latest", "../3.0.0"):
        with pytest.raises(FetchError, match="version number"):
            fetch_release(version, server.url, tmp_path)


def test_a_new_url_or_checksum_is_not_served_from_the_cache(server: Server, tmp_path: Path) -> None:
    server.body = build_archive()
    fetch_release("3.0.0", server.url, tmp_path)
    other = build_archive(extra={"smodels-database-release-3.0.0/README": b"newer"})
    server.body, server.etag = other, '"v2"'
    assert fetch_release("3.0.0", server.url, tmp_path, hashlib.sha256(other).hexdigest()).read_bytes() == other
    server.url += "?again"
    server.body, server.etag = build_archive(), '"v3"'
    assert fetch_release("3.0.0", server.url, tmp_path).read_bytes() == server.body
    assert fetch_release("3.0.0", cache=tmp_path).read_bytes() == server.body, "without a URL the cache answers"
