"""Restricts a results store to some analyses or simplified topologies.

Maps that are left out lose their topologies, so that no model populates them; everything else keeps its place and
number. The content hash stays that of the whole store: the selection is part of the configuration.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np

from configs.schema import ResultsSettings
from database.errors import ConfigError
from database.results.store import ResultsStore


def select_results(store: ResultsStore, settings: ResultsSettings) -> ResultsStore:
    """The store, with only the selected analyses and topologies in use.

    Args:
        store: the published results.
        settings: what to select and to exclude.

    Raises:
        ConfigError: a name is not in the results, or nothing is left.
    """
    if not (settings.select_analyses or settings.exclude_analyses or settings.select_txnames or settings.exclude_txnames):
        return store
    analyses = [record.analysis_id for record in store.results]
    for key, names, known in (
        ("select_analyses", settings.select_analyses, analyses),
        ("exclude_analyses", settings.exclude_analyses, analyses),
        ("select_txnames", settings.select_txnames, store.map_txnames),
        ("exclude_txnames", settings.exclude_txnames, store.map_txnames),
    ):
        _check_known(f"results.{key}", names, known)
    is_analysis = _mask(analyses, settings.select_analyses, settings.exclude_analyses)
    is_map = _mask(store.map_txnames, settings.select_txnames, settings.exclude_txnames)
    is_map &= is_analysis[store.dataset_result[store.map_dataset]]
    kept = np.flatnonzero(is_map[store.atom_map])
    if kept.size == 0:
        raise ConfigError("results: the selection leaves no map of any analysis")
    return replace(
        store,
        atom_map=store.atom_map[kept],
        atom_template=store.atom_template[kept],
        atom_coefficient=store.atom_coefficient[kept],
    )


def _mask(names: Collection[str], select: Collection[str], exclude: Collection[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([(not select or name in select) and name not in exclude for name in names], dtype=np.bool_)


def _check_known(key: str, names: Iterable[str], known: Iterable[str]) -> None:
    present = set(known)
    for name in names:
        if name not in present:
            close = difflib.get_close_matches(name, sorted(present), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"{key}: {name} is not among these results{hint}")
