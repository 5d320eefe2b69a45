"""What the store holds: one row per result, and what of it is not usable, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from database.results.records import Kind, StatModel
from database.results.store import ResultsStore


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One result, for tables.

    Attributes:
        analysis_id: e.g. "CMS-SUS-19-006".
        folder: its folder in the text database.
        experiment: "ATLAS" or "CMS".
        sqrts_tev: centre-of-mass energy [TeV].
        lumi_ifb: integrated luminosity [fb⁻¹].
        kind: whether it gives limits or efficiencies.
        num_regions: number of signal regions, 0 for limits.
        num_maps: number of maps.
        num_expected_limit_maps: maps that also give expected limits.
        num_usable_maps: maps that promptly decaying, pair-produced particles with an invisible end can populate.
        txnames: its topologies.
        stat_model: how its signal regions are combined.
        lifetime: "prompt" or "displaced".
        is_approximate: whether its maps are fits for demonstration and tests.
        fit_error: typical relative error of those fits, nan for published maps.
        url: page of the analysis.
        arxiv: preprint.
        notes: what is not usable, and why.
    """

    analysis_id: str
    folder: str
    experiment: str
    sqrts_tev: int
    lumi_ifb: float
    kind: Kind
    num_regions: int
    num_maps: int
    num_expected_limit_maps: int
    num_usable_maps: int
    txnames: tuple[str, ...]
    stat_model: StatModel
    lifetime: str
    is_approximate: bool
    fit_error: float
    url: str
    arxiv: str
    notes: tuple[str, ...]


def describe(store: ResultsStore) -> list[ResultRow]:
    """Returns one row per result of the store, in its order; none is left out."""
    map_result = store.dataset_result[store.map_dataset] if len(store.dataset_result) else np.empty(0, np.int32)
    num_results = len(store.results)
    num_maps = np.bincount(map_result, minlength=num_results)
    num_expected = np.bincount(map_result[store.map_grid_exp >= 0], minlength=num_results)
    num_usable = np.bincount(map_result[store.map_flags == 0], minlength=num_results)
    txnames: list[set[str]] = [set() for _ in store.results]
    for result, txname in zip(map_result.tolist(), store.map_txnames, strict=True):
        txnames[result].add(txname)
    return [
        ResultRow(
            analysis_id=record.analysis_id,
            folder=record.folder,
            experiment=record.experiment,
            sqrts_tev=record.sqrts_tev,
            lumi_ifb=record.lumi_ifb,
            kind=record.kind,
            num_regions=record.num_datasets if record.kind == "efficiencyMap" else 0,
            num_maps=int(num_maps[record.index]),
            num_expected_limit_maps=int(num_expected[record.index]),
            num_usable_maps=int(num_usable[record.index]),
            txnames=tuple(sorted(txnames[record.index])),
            stat_model=record.stat_model,
            lifetime=record.lifetime,
            is_approximate=record.is_approximate,
            fit_error=record.fit_error,
            url=record.url,
            arxiv=record.arxiv,
            notes=record.notes,
        )
        for record in store.results
    ]


_ENTRY_START = re.compile(r"^@\w+\{", re.MULTILINE)
_LABEL = re.compile(r"^\s*label\s*=\s*[{\"]\s*([^}\"]+?)\s*[}\"]", re.MULTILINE)


def read_bibtex(store: ResultsStore) -> dict[str, str]:
    """Returns the BibTeX entry of each analysis that the text database has one for, by analysis id."""
    file = store.path / "database.bib"
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8")
    entries: dict[str, str] = {}
    for match in _ENTRY_START.finditer(text):
        entry = _balanced(text, match.start(), match.end() - 1)
        label = _LABEL.search(entry)
        if label is not None:
            entries[label.group(1)] = entry
    return entries


def _balanced(text: str, start: int, brace: int) -> str:
    """The text from `start` to the brace that closes the one at `brace`."""
    depth = 0
    for index in range(brace, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return text[start : index + 1]
    return text[start:]
