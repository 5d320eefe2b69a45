"""Archives of the text database, unpacked safely into a temporary folder."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

from database.errors import ResultsFormatError

MAX_UNPACKED_BYTES: Final = 8 * 2**30
"""Archives that claim to hold more are refused."""


@contextmanager
def unpacked_database(path: Path) -> Iterator[Path]:
    """Yields the folder that holds the `version` file of a text database; an archive is unpacked for the duration.

    Args:
        path: folder or archive.

    Raises:
        ResultsFormatError: nothing there, not an archive, a damaged one, or one without a text database.
    """
    if path.is_dir():
        yield _root_of(path, path.name)
    elif path.is_file():
        with tempfile.TemporaryDirectory(prefix="protomodels-") as folder:
            _unpack(path, Path(folder))
            yield _root_of(Path(folder), path.name)
    else:
        raise ResultsFormatError(f"There is no text database at {path}.")


def _root_of(folder: Path, name: str) -> Path:
    for candidate in (folder, *sorted(child for child in folder.iterdir() if child.is_dir())):
        if (candidate / "version").is_file():
            return candidate.resolve()
    raise ResultsFormatError(f"{name} is not a text database: it has no file 'version'.")


def _unpack(archive: Path, target: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, target)
        else:
            _unpack_tar(archive, target)
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(":.")
        raise ResultsFormatError(f"{archive.name} cannot be unpacked, it is damaged or not an archive ({reason}).") from None


def _unpack_tar(archive: Path, target: Path) -> None:
    unpacked = 0
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            if not member.isfile():
                continue  # folders are made as needed; links and devices have no place in a text database
            unpacked += member.size
            content = tar.extractfile(member)
            if content is not None:
                _write(content, _destination(member.name, target, archive), unpacked, archive)


def _unpack_zip(archive: Path, target: Path) -> None:
    unpacked = 0
    with zipfile.ZipFile(archive) as package:
        for member in package.infolist():
            if member.is_dir():
                continue
            unpacked += member.file_size
            with package.open(member) as content:
                _write(content, _destination(member.filename, target, archive), unpacked, archive)


def _destination(name: str, target: Path, archive: Path) -> Path:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name:
        raise ResultsFormatError(f"{archive.name} is refused: it would write outside of its folder ({name!r}).")
    return target.joinpath(*relative.parts)


def _write(content: IO[bytes], destination: Path, unpacked: int, archive: Path) -> None:
    if unpacked > MAX_UNPACKED_BYTES:
        raise ResultsFormatError(f"{archive.name} is refused: it unpacks to more than {MAX_UNPACKED_BYTES // 2**30} GiB.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with destination.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
