"""Which compiled results a command works on."""

from __future__ import annotations

from pathlib import Path

from database.results.store import ResultsStore

EMBEDDED = "embedded"


def open_results(results: str | None) -> ResultsStore:
    """Open a compiled store.

    Args:
        results: "embedded" for the packaged excerpt, a path, or None: the store last imported if there is one, else the excerpt.

    Raises:
        StoreError: the path holds no compatible store.
    """
    from database.results.embedded import open_embedded_store
    from database.results.store import default_store_path, open_store

    if results == EMBEDDED:
        return open_embedded_store()
    if results is not None:
        return open_store(Path(results))
    imported = default_store_path()
    return open_store(imported) if imported.exists() else open_embedded_store()
