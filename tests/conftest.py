"""Fixtures that several rooms share."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from database.results.importer import import_text_database
from database.results.store import ResultsStore, cache_path, is_store, open_store
from database.results.worker import REFERENCE_KERNEL, linear_algebra_kernel

# the same examples in every run; with PROTOMODELS_TEST_SEED set, fresh ones, to hunt rare failures
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("hunt", deadline=None)
settings.load_profile("hunt" if os.environ.get("PROTOMODELS_TEST_SEED") else "fixed")

PROJECT_ROOT = Path(__file__).resolve().parents[1]
_COMPILING_MODULES = (
    "compiler.py", "constraints.py", "covariances.py", "grid_text.py", "importer.py", "literals.py", "maps.py", "model_files.py",
    "particle_labels.py", "records.py", "region_sets.py", "set_models.py", "smodels_text.py", "statistical_models.py", "store.py",
    "templates.py", "text_files.py", "worker.py",
)  # fmt: skip


def find_text_database() -> Path | None:
    """Returns the full text database: $PROTOMODELS_SMODELS_DB, else an archive in ../shared/data, else None."""
    if configured := os.environ.get("PROTOMODELS_SMODELS_DB"):
        path = Path(configured)
        return path if path.exists() else None
    archives = sorted((PROJECT_ROOT.parent / "shared" / "data").glob("smodels-database-*.tar.xz"))
    return archives[-1] if archives else None


def _compile_once(source: Path) -> ResultsStore:
    """Compiles a text database into the cache, keyed by the source and by the code that compiles it."""
    marker = source / "version" if source.is_dir() else source
    state = marker.stat()
    digest = hashlib.sha256(f"{source.name} {state.st_size} {state.st_mtime_ns}".encode())
    for module in _COMPILING_MODULES:
        digest.update((PROJECT_ROOT / "database" / "results" / module).read_bytes())
    folder = cache_path() / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"full-{digest.hexdigest()[:16]}"
    with (folder / "lock").open("w") as lock:  # parallel test processes wait for the first
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_store(target):
            return open_store(target)
        for outdated in folder.glob("full-*"):
            shutil.rmtree(outdated, ignore_errors=True)
        return import_text_database(source, target, num_workers=os.cpu_count() or 1)


@pytest.fixture(scope="session")
def text_database_path() -> Path:
    """The full text database, folder or archive; skips where it is not available."""
    source = find_text_database()
    if source is None:
        pytest.skip("needs the full text database: set PROTOMODELS_SMODELS_DB to its folder or archive")
    return source


@pytest.fixture(scope="session")
def full_store(text_database_path: Path) -> ResultsStore:
    """The compiled full database; compiled once and kept in the cache."""
    return _compile_once(text_database_path)


@pytest.fixture(scope="session")
def reference_kernels() -> None:
    """Skips where the processor lacks the kernels that the reference triangulations were made with."""
    if linear_algebra_kernel() != REFERENCE_KERNEL:
        pytest.skip("triangulations of regular grids equal the reference only with its AVX-512 kernels")


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder with the reference protomodels and predictions; skips where it is not available."""
    folder = Path(os.environ.get("PROTOMODELS_REFERENCE_DATA", PROJECT_ROOT.parent / "shared" / "data"))
    if not (folder / "reference_predictions.json").is_file():
        pytest.skip("needs the reference predictions: set PROTOMODELS_REFERENCE_DATA to their folder")
    return folder
