"""Workspaces from files, archives and DOIs, with their digests.

A workspace is named by a path or by a DOI, either with `#member` for one file of an archive:

    BkgOnly.json    likelihoods.tar.gz#RegionA/BkgOnly.json    10.17182/hepdata.89408.v3/r2#RegionA/BkgOnly.json

What a DOI names is downloaded once and kept in the cache. Two digests are compared where they are stated: sha256 of the file, and sha256 of
its JSON with sorted keys, which is what `pyhf digest` prints and what patch sets on HEPData state of their background workspace.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from database.results.store import cache_path
from database.searches.records import KnownDigest, RegionMap, SearchFileError

log = logging.getLogger(__name__)

DOI_RESOLVER = "https://doi.org/"
MAX_SIZE = 1 << 29
"""Larger downloads and workspaces are refused [bytes]."""
_DOI = re.compile(r"(?:doi:|https?://(?:dx\.)?doi\.org/)?(10\.\d{4,9}/[^\s#]+)")
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class WorkspaceFile:
    """A workspace that was read.

    Attributes:
        name: as the user named it.
        path: file, or archive, that it is in.
        member: its path in the archive; "" without one.
        spec: parsed JSON.
        sha256: of the bytes.
        content_sha256: of the JSON with sorted keys.
    """

    name: str
    path: Path
    member: str
    spec: dict[str, Any]
    sha256: str
    content_sha256: str


def find_doi(name: str) -> str | None:
    """The DOI in a name, or None.

    Examples:
        >>> find_doi("https://doi.org/10.17182/hepdata.89408.v3/r2"), find_doi("BkgOnly.json")
        ('10.17182/hepdata.89408.v3/r2', None)
    """
    found = _DOI.fullmatch(name)
    return found[1] if found else None


def read_workspace_file(name: str, default_member: str | None = None) -> WorkspaceFile:
    """The workspace of a path or DOI.

    Args:
        name: see the module.
        default_member: file of an archive that is meant if the name does not say.

    Raises:
        SearchFileError: it cannot be had, or is no JSON object; says why.
    """
    place, _, member = name.partition("#")
    doi = find_doi(place)
    path = fetch_doi(doi) if doi is not None else Path(place).expanduser()
    data, inside = _read_bytes(path, member or default_member or "", bool(member))
    where = f"{path}#{inside}" if inside else str(path)
    try:
        spec = json.loads(data)
    except ValueError:
        raise SearchFileError(f"{where}: is not JSON") from None
    if not isinstance(spec, dict) or not {"channels", "observations", "measurements"} <= spec.keys():
        hint = " (a patch set; its background-only workspace is wanted)" if isinstance(spec, dict) and "patches" in spec else ""
        raise SearchFileError(f"{where}: is no workspace with channels, observations and measurements{hint}")
    return WorkspaceFile(name, path, inside, spec, hashlib.sha256(data).hexdigest(), content_digest(spec))


def content_digest(spec: Any) -> str:
    """sha256 of a JSON document with sorted keys, as `pyhf digest` computes it.

    Examples:
        >>> content_digest({"b": 1, "a": [2.0]}) == content_digest({"a": [2.0], "b": 1})
        True
    """
    return hashlib.sha256(json.dumps(spec, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def verify_digest(workspace: WorkspaceFile, region_map: RegionMap, known: tuple[KnownDigest, ...] = ()) -> str:
    """What can be said of a workspace's identity, in one sentence without a full stop.

    Args:
        workspace: as read.
        region_map: its digests, where it states any.
        known: digests of the catalogue.

    Raises:
        SearchFileError: the map states another digest.
    """
    for field, stated, found in (
        ("sha256", region_map.sha256, workspace.sha256),
        ("content_sha256", region_map.content_sha256, workspace.content_sha256),
    ):
        if stated is not None and stated != found:
            raise SearchFileError(f"{workspace.name}: {field} of the workspace is {found}, the region map states {stated}")
    if region_map.sha256 is not None or region_map.content_sha256 is not None:
        return "its digest is the one that the region map states"
    for digest in known:
        if digest.content_sha256 == workspace.content_sha256:
            return f"its content is that of {digest.file} ({digest.source})"
    return f"no digest of it is known to the catalogue (content sha256 {workspace.content_sha256[:16]}…)"


# ------------------------------------------------------------------------------------------------------------ archives


def _read_bytes(path: Path, member: str, is_asked_for: bool) -> tuple[bytes, str]:
    """Content of a file, or of a member of an archive, and the member's name."""
    try:
        if not path.is_file():
            raise SearchFileError(f"{path}: there is no such file")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
                chosen = _choose_member(path, names, member)
                if archive.getinfo(chosen).file_size > MAX_SIZE:
                    raise SearchFileError(f"{path}#{chosen}: is too large")
                return archive.read(chosen), chosen
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                files = {entry.name: entry for entry in tar.getmembers() if entry.isfile()}
                chosen = _choose_member(path, list(files), member)
                stream = tar.extractfile(files[chosen])
                if stream is None or files[chosen].size > MAX_SIZE:
                    raise SearchFileError(f"{path}#{chosen}: is too large")
                return stream.read(), chosen
        if is_asked_for:
            raise SearchFileError(f"{path}: is not an archive, so that it has no {member!r}")
        if path.stat().st_size > MAX_SIZE:
            raise SearchFileError(f"{path}: is too large")
        return path.read_bytes(), ""
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise SearchFileError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _choose_member(path: Path, names: list[str], member: str) -> str:
    """The file of an archive whose path is the asked one, or ends with it."""
    workspaces = sorted(name for name in names if name.endswith(".json"))
    if not member:
        if len(workspaces) == 1:
            return workspaces[0]
        listed = ", ".join(workspaces[:8]) + (", …" if len(workspaces) > 8 else "")
        raise SearchFileError(f"{path}: name one of its files after a #: {listed or 'it holds no JSON file'}")
    wanted = PurePosixPath(member).parts
    matching = [name for name in names if PurePosixPath(name).parts[-len(wanted) :] == wanted]
    if len(matching) != 1:
        many = "several files" if matching else "no file"
        listed = ", ".join(matching[:8] or workspaces[:8])
        raise SearchFileError(f"{path}: holds {many} named {member}; there are {listed or 'no JSON files'}")
    return matching[0]


# ----------------------------------------------------------------------------------------------------------- downloads


def doi_cache_path(doi: str) -> Path:
    """Where the file of a DOI is kept."""
    return cache_path() / "workspaces" / re.sub(r"[^A-Za-z0-9.-]", "_", doi)


def fetch_doi(doi: str, resolver: str = DOI_RESOLVER, progress: Callable[[int], None] | None = None) -> Path:
    """The file of a DOI, from the cache or the network.

    Args:
        doi: as published, e.g. 10.17182/hepdata.89408.v3/r2.
        resolver: where DOIs are resolved.
        progress: called with the bytes that arrived.

    Raises:
        SearchFileError: it cannot be had; says why and what to do instead.
    """
    target = doi_cache_path(doi)
    if target.is_file():
        return target
    url = f"{resolver}{doi}"
    instead = "download it by other means and name the file instead"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        content = _download(url, progress)
    except httpx.HTTPStatusError as error:
        raise SearchFileError(f"{url} cannot be fetched (the server answers {error.response.status_code}); {instead}") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise SearchFileError(f"{url} cannot be fetched ({error or type(error).__name__}); {instead}") from None
    if content[:1] == b"<":
        raise SearchFileError(f"{url} leads to a web page, not to a file; {instead}")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).replace(target)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise SearchFileError(f"{target} cannot be written ({error.strerror or error})") from None
    log.info("doi=%s kept at %s", doi, target)
    return target


def _download(url: str, progress: Callable[[int], None] | None) -> bytes:
    """The body of a URL; HEPData sends the file itself to those who accept archives."""
    buffer = io.BytesIO()
    headers = {"Accept": "application/x-tar, application/json;q=0.9, */*;q=0.1"}
    with (
        httpx.Client(follow_redirects=True, timeout=httpx.Timeout(_TIMEOUT_S), headers=headers) as client,
        client.stream("GET", url) as response,
    ):
        response.raise_for_status()
        for block in response.iter_bytes(1 << 16):
            buffer.write(block)
            if buffer.tell() > MAX_SIZE:
                raise OSError("the file is too large")
            if progress is not None:
                progress(buffer.tell())
    return buffer.getvalue()
