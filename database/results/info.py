"""What the store holds: one row per result, and what of it is not usable, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from database.results.compiler import FLAG_NOTES, MapFlag
from database.results.records import Kind, ResultRecord, StatModel
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
        num_usable_maps: maps that pair-produced particles can populate, prompt or long-lived.
        num_long_lived_maps: those of them that ask for long-lived or stable charged particles.
        txnames: its topologies.
        stat_model: how its signal regions are combined.
        lifetime: "prompt" or "displaced".
        is_approximate: whether its maps are fits for demonstration and tests.
        fit_error: typical relative error of those fits, nan for published maps.
        url: page of the analysis.
        arxiv: preprint.
        superseded_by: analyses among the results that replace it.
        variants: other treatments of the same analysis among the results, e.g. with aggregated regions.
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
    num_long_lived_maps: int
    txnames: tuple[str, ...]
    stat_model: StatModel
    lifetime: str
    is_approximate: bool
    fit_error: float
    url: str
    arxiv: str
    superseded_by: tuple[str, ...]
    variants: tuple[str, ...]
    notes: tuple[str, ...]


_UNREACHABLE: Final = MapFlag.SINGLE_MEDIATOR | MapFlag.SINGLE_POINT
_LONG_LIVED: Final = MapFlag.WIDTH_AXES | MapFlag.CHARGED_FINAL_STATE

MEDIATOR_NOTE: Final = "not reachable: they ask for one mediator (Zprime, H0) produced alone, the pool has Z2-odd particles made in pairs"
LONG_LIVED_NOTE: Final = "reached by long-lived or stable charged particles only: the model has to give their widths"
R_PARITY_NOTE: Final = (
    "a BSM particle decays to Standard Model particles only: the walk has no such decays, but models that are read in may have them"
)
SINGLE_POINT_NOTE: Final = "single-point maps cannot be interpolated"


def _reasons(flags: MapFlag) -> tuple[str, ...]:
    """What keeps ordinary protomodels from a map."""
    if flags & MapFlag.SINGLE_MEDIATOR:
        return (MEDIATOR_NOTE,)
    found = ((_LONG_LIVED, LONG_LIVED_NOTE), (MapFlag.R_PARITY_VIOLATION, R_PARITY_NOTE), (MapFlag.SINGLE_POINT, SINGLE_POINT_NOTE))
    return tuple(note for flag, note in found if flags & flag)


def _reach_notes(maps: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    """One note per reason that keeps ordinary protomodels from maps, given as (flags, txname)."""
    counts: dict[str, Counter[str]] = {}
    for flags, txname in maps:
        for reason in _reasons(MapFlag(flags)):
            counts.setdefault(reason, Counter())[txname] += 1
    return tuple(f"{reason}: {', '.join(sorted(names))} ({names.total()} maps)" for reason, names in sorted(counts.items()))


_VARIANT: Final = re.compile(r"-(agg|multibin|ewk|strong|hino)$")


def base_analysis(analysis_id: str) -> str:
    """Returns the analysis behind an id that names one treatment of it.

    Examples:
        >>> base_analysis("CMS-SUS-19-006-agg"), base_analysis("CMS-SUS-19-006")
        ('CMS-SUS-19-006', 'CMS-SUS-19-006')
    """
    return _VARIANT.sub("", analysis_id)


def _plain_id(name: str) -> str:
    """An analysis id as other results spell it: `ATLAS_CONF_2013_001`, `CMS-SUS-13-006 (more data)`."""
    return (name.split() or [""])[0].replace("_", "-")


def find_successors(records: Sequence[ResultRecord]) -> tuple[tuple[str, ...], ...]:
    """Returns, per result, the analyses among the results that replace it: it says so, or they do."""
    present = {base_analysis(record.analysis_id) for record in records}
    successors: dict[str, set[str]] = {}
    for record in records:
        for old in record.supersedes:
            successors.setdefault(base_analysis(_plain_id(old)), set()).add(base_analysis(record.analysis_id))
        for new in record.superseded_by:
            successors.setdefault(base_analysis(record.analysis_id), set()).add(base_analysis(_plain_id(new)))
    found = []
    for record in records:
        own = base_analysis(record.analysis_id)
        found.append(tuple(sorted(name for name in successors.get(own, ()) if name in present and name != own)))
    return tuple(found)


def describe(store: ResultsStore) -> list[ResultRow]:
    """Returns one row per result of the store, in its order; none is left out."""
    map_result = store.dataset_result[store.map_dataset] if len(store.dataset_result) else np.empty(0, np.int32)
    num_results = len(store.results)
    num_maps = np.bincount(map_result, minlength=num_results)
    num_expected = np.bincount(map_result[store.map_grid_exp >= 0], minlength=num_results)
    is_reachable = (store.map_flags & int(_UNREACHABLE)) == 0
    num_usable = np.bincount(map_result[is_reachable], minlength=num_results)
    num_long_lived = np.bincount(map_result[is_reachable & ((store.map_flags & int(_LONG_LIVED)) != 0)], minlength=num_results)
    maps: list[list[tuple[int, str]]] = [[] for _ in store.results]
    for result, flags, txname in zip(map_result.tolist(), store.map_flags.tolist(), store.map_txnames, strict=True):
        maps[result].append((flags, txname))
    successors = find_successors(store.results)
    variants: dict[str, set[str]] = {}
    for record in store.results:
        variants.setdefault(base_analysis(record.analysis_id), set()).add(record.analysis_id)
    stored_reasons = tuple(FLAG_NOTES.values())
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
            num_long_lived_maps=int(num_long_lived[record.index]),
            txnames=tuple(sorted({txname for _, txname in maps[record.index]})),
            stat_model=record.stat_model,
            lifetime=record.lifetime,
            is_approximate=record.is_approximate,
            fit_error=record.fit_error,
            url=record.url,
            arxiv=record.arxiv,
            superseded_by=successors[record.index],
            variants=tuple(sorted(variants[base_analysis(record.analysis_id)] - {record.analysis_id})),
            notes=(*(note for note in record.notes if not note.startswith(stored_reasons)), *_reach_notes(maps[record.index])),
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
