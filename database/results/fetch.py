"""Downloads a text release of the SModels results database into the cache.

A download that breaks off is resumed where it stopped (HTTP Range, guarded by the server's ETag); the archive is checked
(sha256 if known, always its own checksums, and that it holds the release asked for) and put in place by a rename: the cache
never holds half a release. What came from where is recorded beside it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from database.errors import UserFacingError
from database.results.store import cache_path

log = logging.getLogger(__name__)

DEFAULT_VERSION = "3.0.0"
URL_TEMPLATE = "https://github.com/SModelS/smodels-database-release/archive/refs/tags/v{version}.tar.gz"
"""Public text releases of the SModelS collaboration (citation: arXiv:2306.17676 and the analyses in its database.bib)."""

MAX_ATTEMPTS = 4
"""Connections made before a download that keeps breaking off is given up; every one resumes."""
Progress = Callable[[int, int | None], None]
"""Called with the bytes on disk and the total (None if the server does not say)."""


class FetchError(UserFacingError):
    """A results release cannot be downloaded, or what was downloaded is not the release asked for."""


def fetch_release(
    version: str = DEFAULT_VERSION,
    url: str | None = None,
    cache: Path | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """The archive of the text release `version`, downloaded and verified if the cache does not hold it.

    Args:
        version: release number as in its `version` file, e.g. "3.0.0".
        url: where to get the archive (.tar.gz, .tar.xz, .tar.bz2 or .tar); the public release if None.
        cache: folder for releases; `cache_path()/releases` if None.
        sha256: expected checksum of the archive, hexadecimal; unchecked if None.
        progress: called as bytes arrive.

    Returns:
        The archive, as `import_text_database` takes it.

    Raises:
        FetchError: in one sentence, what could not be had and why.
    """
    if not re.fullmatch(r"\d+(\.\d+)+[A-Za-z0-9.-]*", version):
        raise FetchError(f"'{version}' is not a version number like {DEFAULT_VERSION}.")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise FetchError("A sha256 checksum has 64 hexadecimal digits.")
    folder = (cache or cache_path() / "releases").expanduser()
    source = url or URL_TEMPLATE.format(version=version)
    name = f"smodels-database-{version}"
    release, record = folder / f"{name}.tar", folder / f"{name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _exclusive(folder / f"{name}.lock"):
            if _is_cached(release, record, source if url else None, sha256):
                return release
            fresh = folder / f"{name}.new"
            _download(source, fresh, progress)
            try:
                digest = _check_sum(fresh, sha256)
                _check_archive(fresh, version)
            except FetchError:
                fresh.unlink()  # a later call downloads it anew
                raise
            record.unlink(missing_ok=True)
            fresh.replace(release)
            known = {"url": source, "sha256": digest, "version": version, "size_bytes": release.stat().st_size}
            record.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise FetchError(f"The release cannot be kept in {folder}: {error.strerror or error}.") from error
    return release


def _check_archive(archive: Path, version: str) -> None:
    """Reads the archive to its end, where its own checksums are compared, and looks for the release in it."""
    found: str | None = None
    has_results = False
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                parts = Path(member.name).parts
                if parts[-1:] == ("version",) and len(parts) <= 2 and member.isfile():
                    content = tar.extractfile(member)
                    found = content.read(100).decode("utf-8", "replace").strip() if content else None
                has_results |= parts[-1:] == ("globalInfo.txt",)
            stream = tar.fileobj
            while stream is not None and stream.read(1 << 20):
                pass
    except (OSError, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk; decompressors raise it without a number
            raise
        reason = str(error).partition("\n")[0].rstrip(":")
        raise FetchError(f"What was downloaded is damaged or not a tar archive ({reason}); it was deleted, fetch it again.") from error
    if found is None or not has_results:
        raise FetchError("What was downloaded is not a release of the results database: it has no 'version' file or no results.")
    if found != version:
        raise FetchError(f"What was downloaded is release {found}, not {version}.")


def _is_cached(release: Path, record: Path, url: str | None, sha256: str | None) -> bool:
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        is_whole = release.stat().st_size == known["size_bytes"]
        is_same = (url is None or known["url"] == url) and (sha256 is None or known["sha256"] == sha256.lower())
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return is_whole and bool(is_same)


def _check_sum(archive: Path, expected: str | None) -> str:
    digest = hashlib.sha256()
    with archive.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if expected is not None and digest.hexdigest() != expected.lower():
        raise FetchError(f"The downloaded archive has sha256 {digest.hexdigest()} instead of {expected.lower()}; it was deleted.")
    return digest.hexdigest()


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FetchError(f"Another process is fetching this release into {path.parent}.") from error
        yield


# ------------------------------------------------------------------------------------------------------------- download


class _RetryError(Exception):
    """The connection broke off; what arrived is in the part file."""


def _download(url: str, target: Path, progress: Progress | None) -> None:
    """Writes the body of `url` to `target`, through `target`.part."""
    part, marker = target.with_suffix(".part"), target.with_suffix(".part.json")
    last: Exception | None = None
    with httpx.Client(follow_redirects=True, timeout=httpx.Timeout(30.0)) as client:
        for attempt in range(MAX_ATTEMPTS):
            try:
                _download_once(client, url, part, marker, progress)
            except (_RetryError, httpx.TransportError) as error:
                last = error
                log.info("download of %s broke off (attempt %d): %s", url, attempt + 1, error)
                if isinstance(error, httpx.ConnectError | httpx.UnsupportedProtocol):
                    break
                continue
            except httpx.HTTPError as error:
                raise FetchError(f"{url} cannot be fetched: {error}.") from error
            except httpx.InvalidURL as error:
                raise FetchError(f"'{url}' is not a URL: {error}.") from error
            part.replace(target)
            marker.unlink(missing_ok=True)
            return
    done = part.stat().st_size if part.exists() else 0
    kept = f"; {done} bytes are kept and the next attempt goes on from there" if done else ""
    raise FetchError(f"{url} cannot be fetched: {last}{kept}.")


def _download_once(client: httpx.Client, url: str, part: Path, marker: Path, progress: Progress | None) -> None:
    """One connection: appends to `part` what is missing, or starts over if the server's file changed."""
    start, validator = _read_marker(part, marker, url)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            if response.headers.get("Content-Range", "").endswith(f"/{start}"):
                return  # everything had arrived
            part.unlink(missing_ok=True)
            raise _RetryError("the server's file changed")
        if response.is_error:
            raise FetchError(f"{url} cannot be fetched: the server answers {response.status_code} {response.reason_phrase}.")
        is_resumed = response.status_code == httpx.codes.PARTIAL_CONTENT and response.headers.get("Content-Range", "").startswith(
            f"bytes {start}-"
        )
        if response.status_code == httpx.codes.PARTIAL_CONTENT and not is_resumed:
            part.unlink(missing_ok=True)
            raise _RetryError("the server sent another part than the one asked for")
        if not is_resumed:
            start = 0
            fresh = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            marker.write_text(json.dumps({"url": url, "validator": fresh}), encoding="utf-8")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        done = start
        with part.open("ab" if is_resumed else "wb") as stream:
            for block in response.iter_raw(1 << 16):
                stream.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, total)
        if total is not None and done != total:
            raise _RetryError(f"the connection closed after {done} of {total} bytes")


def _read_marker(part: Path, marker: Path, url: str) -> tuple[int, str]:
    """Bytes that are there, and the server's mark of the file they belong to; (0, "") if they cannot be trusted."""
    try:
        known = json.loads(marker.read_text(encoding="utf-8"))
        size = part.stat().st_size
    except (OSError, ValueError):
        return 0, ""
    validator = known.get("validator", "") if isinstance(known, dict) and known.get("url") == url else ""
    is_strong = validator and not validator.startswith("W/")
    return (size, validator) if is_strong else (0, "")
