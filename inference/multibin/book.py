"""Finds analyses by name: in files of the user, in compiled results, in the catalogue."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from database.results.combinability_facts import analysis_stem
from database.searches.catalogue import Search, find_search, load_catalogue
from database.searches.records import PublishedTable, RegionMap
from database.searches.workspaces import find_doi, read_workspace_file, verify_digest
from inference.multibin.analyses import Analysis
from inference.multibin.settings import LimitsError
from inference.multibin.store_models import store_analysis
from inference.multibin.table_models import table_analysis
from inference.multibin.user_models import UserWorkspace, workspace_analysis

if TYPE_CHECKING:
    from database.results.records import ResultRecord
    from database.results.store import ResultsStore


def efficiency_results(store: ResultsStore) -> Mapping[str, ResultRecord]:
    """The results with signal regions by analysis id; of several with one id the first."""
    found: dict[str, ResultRecord] = {}
    for record in store.results:
        if record.kind == "efficiencyMap":
            found.setdefault(record.analysis_id, record)
    return found


class AnalysisBook:
    """All analyses that can be named.

    Args:
        store: compiled results.
        workspaces: of the user.
        tables: of the user.
        surrogates: learned models in files of the user, by analysis id; "" for all.
    """

    def __init__(
        self,
        store: ResultsStore,
        workspaces: Sequence[UserWorkspace] = (),
        tables: Sequence[PublishedTable] = (),
        surrogates: Mapping[str, Sequence[Path]] | None = None,
    ) -> None:
        self._store = store
        self._results = efficiency_results(store)
        self._tables = {table.analysis: table for table in tables}
        self._surrogates = {self._canonical(name) if name else "": paths for name, paths in (surrogates or {}).items()}
        self._workspaces: dict[str, list[UserWorkspace]] = {}
        for workspace in workspaces:
            self._workspaces.setdefault(self._canonical(workspace.regions.analysis), []).append(workspace)
        self._found: dict[str, Analysis] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which analyses can be found, aliases left out."""
        known = (*self._workspaces, *self._tables, *self._results, *load_catalogue())
        return tuple(dict.fromkeys(known))

    def find(self, name: str) -> Analysis:
        """The analysis of a name or alias.

        Raises:
            LimitsError: nothing is known under this name, or only what is not at hand; says what would be needed.
        """
        canonical = self._canonical(name)
        if canonical not in self._found:
            self._found[canonical] = self._make(name, canonical)
        return self._found[canonical]

    def _canonical(self, name: str) -> str:
        """The name under which an analysis is kept: that of the results where they have it."""
        if name in self._tables or name in self._results:
            return name
        search = find_search(name)
        if search is not None:
            entry = search.entry
            return entry.result if entry.result is not None and entry.result in self._results else entry.analysis
        stems = [known for known in self._results if analysis_stem(known) == name]
        return stems[0] if len(stems) == 1 else name

    def _make(self, name: str, canonical: str) -> Analysis:
        search = find_search(canonical) or find_search(name)
        base = self._base(canonical, search)
        workspaces = self._workspaces.get(canonical)
        if workspaces:
            return workspace_analysis(tuple(workspaces), base, self._surrogates_of(canonical))
        if base is not None:
            return base
        if search is not None:
            needed = "; ".join(f"{needed.what} ({needed.doi or needed.url or 'not published'})" for needed in search.entry.needed)
            result = f"results that hold {search.entry.result} (SModelS database 3.0.0)" if search.entry.result else ""
            raise LimitsError(f"{name} is in the catalogue, but not at hand: it needs {'; or '.join(filter(None, (result, needed)))}")
        close = difflib.get_close_matches(name, self.names, n=1)
        raise LimitsError(f"{name} is no analysis of these results or of the catalogue" + (f"; did you mean {close[0]}?" if close else ""))

    def _surrogates_of(self, canonical: str) -> tuple[Path, ...]:
        return (*self._surrogates.get(canonical, ()), *self._surrogates.get("", ()))

    def _base(self, canonical: str, search: Search | None) -> Analysis | None:
        if canonical in self._tables:
            return table_analysis(self._tables[canonical], search, "table of the user")
        record = self._results.get(canonical)
        if record is not None:
            return store_analysis(self._store, record.index, search, self._surrogates_of(canonical))
        if search is not None and search.table is not None:
            return table_analysis(search.table, search)
        return None


def read_user_workspaces(names: Sequence[str], maps: Sequence[RegionMap], analyses: Sequence[str]) -> tuple[UserWorkspace, ...]:
    """The workspaces that a user names, each with its map.

    Args:
        names: files, archives or DOIs.
        maps: their region maps, in the same order; none: those of the catalogue, found by DOI or by the analyses.
        analyses: names of the analyses that were asked for.

    Raises:
        LimitsError: the numbers of both differ, or the catalogue has no map for a workspace.
        SearchFileError: a workspace cannot be had, or has another digest than stated.
    """
    if maps and len(maps) != len(names):
        raise LimitsError(f"--regions: give one region map per --workspace, {len(names)}, not {len(maps)}")
    found = []
    for k, name in enumerate(names):
        chosen = (maps[k],) if maps else _packaged_maps(name, analyses)
        for region_map in chosen:
            file = read_workspace_file(name, region_map.member)
            search = find_search(region_map.analysis)
            known = () if search is None else search.entry.digests
            found.append(UserWorkspace(file, region_map, verify_digest(file, region_map, known)))
    return tuple(found)


def _packaged_maps(name: str, analyses: Sequence[str]) -> tuple[RegionMap, ...]:
    place, _, member = name.partition("#")
    doi = find_doi(place)
    searches = [search for search in map(find_search, analyses) if search is not None] if doi is None else list(load_catalogue().values())
    maps = [region_map for search in searches for region_map in search.maps if doi is None or region_map.doi == doi]
    wanted = Path(member or place).name
    by_member = [region_map for region_map in maps if region_map.member is not None and _is_part(region_map.member, member or place)]
    if by_member:
        return tuple(by_member)
    if member or place.endswith(".json"):
        maps = maps if len(maps) == 1 else []
    if not maps:
        raise LimitsError(f"--regions: the catalogue has no region map for {wanted}; give one, or name its analysis with --analysis")
    return tuple(maps)


def _is_part(member: str, path: str) -> bool:
    """Whether a path ends with a member of an archive."""
    wanted, parts = Path(member).parts, Path(path).parts
    return parts[-len(wanted) :] == wanted
