"""The catalogue of searches whose regions are combined: the 9 ATLAS and 4 CMS searches of arXiv:2507.08565.

Everything is checked when it is loaded. `available_models` says which statistical models of a search can be had with given results.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from database.searches.records import (
    PublishedTable,
    RegionMap,
    SearchEntry,
    SearchFileError,
    parse_record,
    read_document,
    read_region_map,
    read_table,
)
from database.searches.workspaces import doi_cache_path

FOLDER = Path(__file__).parent
CATALOGUE_FILE = FOLDER / "catalogue.yaml"


class Search(NamedTuple):
    """An entry with its packaged files.

    Attributes:
        entry: the facts.
        table: its packaged counts, or None.
        maps: region maps of its published workspaces.
    """

    entry: SearchEntry
    table: PublishedTable | None
    maps: tuple[RegionMap, ...]


class Availability(NamedTuple):
    """What can be had of a search.

    Attributes:
        simple: whether regions are combined with one correlated nuisance, or by a published simplified workspace.
        full: whether by a full workspace or a covariance.
        regions: whether single regions are known at all.
        source: where the counts come from, in words.
        missing: what would be better and is not here, in words.
    """

    simple: bool
    full: bool
    regions: bool
    source: str
    missing: tuple[str, ...]


class ResultLike(Protocol):
    """What is read of a result."""

    @property
    def analysis_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def stat_model(self) -> str: ...
    @property
    def is_approximate(self) -> bool: ...


@cache
def load_catalogue(path: Path = CATALOGUE_FILE) -> Mapping[str, Search]:
    """The searches by name, in the order of the file.

    Raises:
        SearchFileError: the file, or one that it names, is not valid; names file and field.
    """
    document = read_document(path, "a catalogue")
    entries = document.get("searches")
    if not isinstance(entries, list):
        raise SearchFileError(f"{path}: searches: expected a list")
    found: dict[str, Search] = {}
    names: set[str] = set()
    for number, plain in enumerate(entries):
        entry = parse_record(SearchEntry, plain, f"{path}: searches[{number}]")
        for name in (entry.analysis, *entry.aliases):
            if name in names:
                raise SearchFileError(f"{path}: searches[{number}]: {name} is used twice")
            names.add(name)
        table = read_table(path.parent / "tables" / entry.table) if entry.table else None
        maps = tuple(_read_map(path, name) for name in entry.maps)
        for region_map in maps:
            if region_map.analysis != entry.analysis:
                raise SearchFileError(f"{path}: searches[{number}]: a region map is of {region_map.analysis}")
        if table is not None and table.analysis != entry.analysis:
            raise SearchFileError(f"{path}: searches[{number}]: the table is of {table.analysis}")
        found[entry.analysis] = Search(entry, table, maps)
    return found


@cache
def _read_map(path: Path, name: str) -> RegionMap:
    return read_region_map(path.parent / "maps" / name)


def find_search(name: str) -> Search | None:
    """The search of a name or alias, arXiv numbers included; None if the catalogue does not have it.

    Examples:
        >>> find_search("atlas_1908_03122").entry.analysis
        'ATLAS-SUSY-2018-31'
    """
    catalogue = load_catalogue()
    if name in catalogue:
        return catalogue[name]
    for search in catalogue.values():
        entry = search.entry
        if name in entry.aliases or name in (entry.arxiv, f"arXiv:{entry.arxiv}") or (entry.result is not None and name == entry.result):
            return search
    return None


def describe_availability(search: Search, results: Mapping[str, ResultLike]) -> Availability:
    """What can be had of a search with these results.

    Args:
        search: of the catalogue.
        results: efficiency-map results by analysis id.
    """
    entry = search.entry
    record = results.get(entry.result or "")
    has_model = record is not None and record.stat_model != "none"
    cached = [region_map for region_map in search.maps if region_map.doi is not None and doi_cache_path(region_map.doi).is_file()]
    has_table = search.table is not None
    has_covariance = search.table is not None and (search.table.covariance is not None or search.table.correlation is not None)
    parts = []
    if record is not None:
        label = ", approximate" if record.is_approximate else ""
        parts.append(f"{record.analysis_id} of these results{label}: {entry.result_model or 'single regions'}")
    if has_table:
        parts.append("counts in the catalogue")
    if cached:
        parts.append("published workspace in the cache")
    missing = []
    if entry.result is not None and record is None:
        missing.append(f"results that hold {entry.result} (SModelS database 3.0.0)")
    if not cached:
        missing += [f"{needed.what} ({needed.doi or needed.url or 'not published'})" for needed in entry.needed]
    return Availability(
        simple=has_table or (record is not None and (has_model or bool(entry.sets))),
        full=(has_model and not entry.is_result_simplified) or bool(cached) or has_covariance,
        regions=record is not None or has_table or bool(cached),
        source="; ".join(parts) or "nothing",
        missing=tuple(missing),
    )


def catalogue_rows(results: Mapping[str, ResultLike]) -> list[dict[str, Any]]:
    """One plain row per search: facts, and what can be had with these results."""
    rows = []
    for search in load_catalogue().values():
        entry, found = search.entry, describe_availability(search, results)
        rows.append(
            {
                "analysis": entry.analysis,
                "aliases": list(entry.aliases),
                "title": entry.title,
                "arxiv": entry.arxiv,
                "experiment": entry.experiment,
                "sqrts_tev": entry.sqrts_tev,
                "lumi_ifb": entry.lumi_ifb,
                "num_bins": entry.num_bins,
                "result": entry.result,
                "has_simple": found.simple,
                "has_full": found.full,
                "has_regions": found.regions,
                "available": found.source,
                "missing": list(found.missing),
                "remarks": list(entry.remarks),
                "sources": list(entry.sources),
            }
        )
    return rows
