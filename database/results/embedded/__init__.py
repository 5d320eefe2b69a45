"""The embedded excerpt: about a dozen published analyses whose maps are low-order fits, for demonstration and tests.

text/          the excerpt, in the text format of the full database; published facts plus fitted maps
selection.py   which results and topologies it holds
fitting.py     the fits and their errors
fit.py         writes text/ from a compiled full store
__init__.py    opens it, compiled on first use
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from database.errors import StoreError
from database.results.fetch import default_cache_path

if TYPE_CHECKING:
    from database.results.store import ResultsStore

log = logging.getLogger(__name__)

EMBEDDED_TEXT = Path(__file__).with_name("text")


def embedded_content_hash(text: Path = EMBEDDED_TEXT) -> str:
    """sha256 over names and contents of the excerpt's files."""
    digest = hashlib.sha256()
    for path in sorted(text.rglob("*"), key=lambda path: path.relative_to(text).as_posix()):
        if path.is_file():
            digest.update(f"{path.relative_to(text).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def open_embedded_store(cache_path: Path | None = None) -> ResultsStore:
    """The compiled excerpt; compiled into the cache on first use.

    The compiled store is keyed by the text's content and the store's format, and put in place by one rename: several
    processes may call this at once, the first to finish wins and the others open its store.

    Args:
        cache_path: folder for compiled excerpts; `default_cache_path()/embedded` if None. Without a writable cache the store
            is compiled into a temporary folder of this process.
    """
    from database.results.store import STORE_FORMAT, open_store

    folder = cache_path or default_cache_path() / "embedded"
    target = folder / f"{_packaged_hash()[:16]}-{STORE_FORMAT}"
    if target.exists():
        try:
            return open_store(target)
        except StoreError as error:
            log.warning("the compiled excerpt in %s is damaged (%s); it is compiled anew", target, error)
            _discard(target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".compile-", dir=folder))
    except OSError:
        return open_store(_compile(Path(_temporary_folder()) / "store"))
    try:
        compiled = _compile(scratch / "store")
        try:
            compiled.rename(target)
        except OSError:
            if not target.exists():  # otherwise another process was faster
                raise
        return open_store(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@cache
def _packaged_hash() -> str:
    return embedded_content_hash()


@cache
def _temporary_folder() -> str:
    import atexit

    folder = tempfile.mkdtemp(prefix="protomodels-embedded-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _compile(target: Path) -> Path:
    from database.results.store import import_text_database

    import_text_database(EMBEDDED_TEXT, target, num_workers=1)
    return target


def _discard(folder: Path) -> None:
    """Moves a damaged store aside, then deletes it, so that no process sees half of it."""
    try:
        with tempfile.TemporaryDirectory(prefix=".damaged-", dir=folder.parent) as aside:
            folder.rename(Path(aside) / "store")
    except OSError:
        log.debug("another process has removed %s", folder)
