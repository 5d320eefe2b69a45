"""Restricts a results store to some analyses or simplified topologies.

Maps that are left out lose their topologies, so that no model populates them; everything else keeps its place and
number. The content hash stays that of the whole store: the selection is part of the configuration.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from configs.schema import ResultsSettings
from database.errors import ConfigError
from database.results.combinability import CombinabilityMatrix, build_combinability
from database.results.info import find_successors
from database.results.records import ResultRecord
from database.results.store import ResultsStore


def select_results(store: ResultsStore, settings: ResultsSettings) -> ResultsStore:
    """The store, with only the selected analyses and topologies in use.

    Args:
        store: the published results.
        settings: what to select and to exclude.

    Raises:
        ConfigError: a name is not in the results, or nothing is left.
    """
    is_selective = settings.select_analyses or settings.exclude_analyses or settings.select_txnames or settings.exclude_txnames
    if not (is_selective or settings.exclude_superseded):
        return store
    analyses = [names_of(record) for record in store.results]
    txnames = [(name,) for name in store.map_txnames]
    for key, names, known in (
        ("select_analyses", settings.select_analyses, analyses),
        ("exclude_analyses", settings.exclude_analyses, analyses),
        ("select_txnames", settings.select_txnames, txnames),
        ("exclude_txnames", settings.exclude_txnames, txnames),
    ):
        _check_known(f"results.{key}", names, (name for aliases in known for name in aliases))
    is_analysis = _mask(analyses, settings.select_analyses, settings.exclude_analyses)
    if settings.exclude_superseded:
        is_analysis &= np.array([not successors for successors in find_successors(store.results)], dtype=np.bool_)
    is_map = _mask(txnames, settings.select_txnames, settings.exclude_txnames)
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


def combine_as_configured(store: ResultsStore, settings: ResultsSettings) -> CombinabilityMatrix:
    """Which results may be combined: the packaged facts, and what the configuration decides.

    Raises:
        ConfigError: a decision names an analysis that neither the store nor the facts know, or two contradict each other.
    """
    return build_combinability(store, overrides=settings.overrides(), trusts_one_sided=settings.trust_one_sided)


def names_of(record: ResultRecord) -> tuple[str, str]:
    """Names that select a result: its analysis, or the analysis with the kind of result, ":ul" or ":em"."""
    return record.analysis_id, f"{record.analysis_id}:{'ul' if record.kind == 'upperLimit' else 'em'}"


def _mask(
    names: Sequence[tuple[str, ...]], select: Collection[str], exclude: Collection[str]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    selected, excluded = set(select), set(exclude)
    return np.array([(not selected or not selected.isdisjoint(a)) and excluded.isdisjoint(a) for a in names], dtype=np.bool_)


def _check_known(key: str, names: Iterable[str], known: Iterable[str]) -> None:
    present = set(known)
    for name in names:
        if name not in present:
            close = difflib.get_close_matches(name, sorted(present), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"{key}: {name} is not among these results{hint}")
