"""Which compiled results the command line, the service and the campaigns work on: one name, one store."""

from __future__ import annotations

from pathlib import Path

from database.results.store import DEFAULT_STORE, EMBEDDED, ResultsStore, default_store_path, open_store


def open_results(results: str | None) -> ResultsStore:
    """Open a compiled store by its name.

    Args:
        results: "embedded" for the packaged excerpt, "default" for the store last imported, a path, or None: the store
            last imported if there is one, else the excerpt.

    Raises:
        StoreError: there is no compatible store of that name.
    """
    from database.results.importer import open_embedded_store

    imported = default_store_path()
    if results == EMBEDDED or (results is None and not imported.exists()):
        return open_embedded_store()
    return open_store(imported if results in (None, DEFAULT_STORE) else Path(results).expanduser())
