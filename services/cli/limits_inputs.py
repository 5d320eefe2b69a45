"""What `protomodels limits` is asked about: yields, models, results files, workspaces, tables, learned models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.multibin.settings import LimitsError

if TYPE_CHECKING:
    from database.results.store import ResultsStore
    from inference.multibin.book import AnalysisBook
    from inference.multibin.results import ResultsFile, SourcesRecord
    from inference.multibin.run import SignalInput
    from inference.multibin.user_models import UserWorkspace


def read_stored(source: Path, stat_only: bool) -> ResultsFile | None:
    """The results file that is to be evaluated again; None for other inputs."""
    from inference.multibin.results import FORMAT, read_results

    try:
        document = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = None
    is_results = isinstance(document, dict) and document.get("format") == FORMAT
    if is_results and not stat_only:
        raise LimitsError(f"{source}: this is a results file; --stat-only evaluates its yields again")
    if stat_only and not is_results:
        raise LimitsError(f"{source}: --stat-only needs a results file of 'protomodels limits'")
    return read_results(source) if is_results else None


def open_book(
    store: ResultsStore,
    stored: ResultsFile | None,
    workspaces: Sequence[str],
    maps: Sequence[Path],
    tables: Sequence[Path],
    surrogates: Sequence[str],
    analyses: Sequence[str],
) -> tuple[AnalysisBook, SourcesRecord]:
    """Where analyses are found, and what of it is stored with the results."""
    from database.searches.records import read_region_map, read_table
    from inference.multibin.book import AnalysisBook, read_user_workspaces
    from inference.multibin.results import SourcesRecord, WorkspaceRecord
    from inference.multibin.run import describe_store

    if maps and not workspaces:
        raise LimitsError("--regions: there is no --workspace that it belongs to")
    read_maps = [read_region_map(path) for path in maps]
    found = list(read_user_workspaces(workspaces, read_maps, analyses))
    own_tables = [read_table(path) for path in tables]
    learned = _surrogates(surrogates)
    if stored is not None:
        found += _stored_workspaces(stored, {entry.regions.analysis for entry in found})
        own_tables += [entry for entry in stored.sources.tables if entry.analysis not in {own.analysis for own in own_tables}]
        learned = {**{name: tuple(map(Path, paths)) for name, paths in stored.sources.surrogates.items()}, **learned}
    sources = SourcesRecord(
        results=describe_store(store),
        workspaces=tuple(
            WorkspaceRecord(name=entry.file.name, content_sha256=entry.file.content_sha256, regions=entry.regions) for entry in found
        ),
        tables=tuple(own_tables),
        surrogates={name: tuple(map(str, paths)) for name, paths in learned.items()},
    )
    return AnalysisBook(store, found, own_tables, learned), sources


def _stored_workspaces(stored: ResultsFile, replaced: set[str]) -> list[UserWorkspace]:
    """The user's workspaces of a results file, checked to be the same ones."""
    from database.searches.catalogue import find_search
    from database.searches.workspaces import read_workspace_file, verify_digest
    from inference.multibin.user_models import UserWorkspace

    found = []
    for entry in stored.sources.workspaces:
        if entry.regions.analysis in replaced:
            continue
        file = read_workspace_file(entry.name, entry.regions.member)
        if file.content_sha256 != entry.content_sha256:
            raise LimitsError(f"{entry.name}: the workspace has changed since the results were made (content sha256 {file.content_sha256})")
        search = find_search(entry.regions.analysis)
        found.append(UserWorkspace(file, entry.regions, verify_digest(file, entry.regions, search.entry.digests if search else ())))
    return found


def _surrogates(given: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    found: dict[str, tuple[Path, ...]] = {}
    for text in given:
        name, equals, path = text.partition("=")
        key, file = (name, Path(path)) if equals else ("", Path(text))
        if not file.is_file():
            raise LimitsError(f"--surrogate: {file}: there is no such file")
        found[key] = (*found.get(key, ()), file)
    return found


def read_signals(
    source: Path, store: ResultsStore, stored: ResultsFile | None, book: AnalysisBook, analyses: Sequence[str] | None
) -> list[SignalInput]:
    """The yields of all inputs, of the chosen analyses only."""
    from inference.multibin.run import SignalInput
    from inference.multibin.yields import parse_yields

    wanted = None if analyses is None else [book.find(name).name for name in analyses]
    if stored is not None:
        return [SignalInput(entry.name, _chosen(entry.yields, book, wanted, f"{source}: {entry.name}")) for entry in stored.inputs]
    document = read_json(source)
    if isinstance(document, Mapping) and "analyses" in document:
        yields = parse_yields(document, str(source)).analyses
        return [SignalInput(source.name, _chosen(yields, book, wanted, str(source)))]
    return _predict_signals(source, store, wanted)


def read_json(source: Path) -> Any:
    from database.searches.records import SearchFileError, read_document

    try:
        if source.read_text(encoding="utf-8").lstrip()[:1] != "{":
            return None
    except (OSError, UnicodeDecodeError):
        return None
    try:
        return read_document(source, "yields or a model")
    except SearchFileError:
        return None  # the readers of models say what is wrong with it


def _chosen(yields: Mapping[str, Any], book: AnalysisBook, wanted: Sequence[str] | None, where: str) -> dict[str, Any]:
    """The yields of the wanted analyses.

    Raises:
        LimitsError: an analysis is given twice under different names, or a wanted one is not there.
    """
    names: dict[str, str] = {}
    for given in yields:
        canonical = book.find(given).name
        if canonical in names:
            raise LimitsError(f"{where}: analyses[{given}]: {names[canonical]} is the same analysis")
        names[canonical] = given
    if wanted is None:
        return dict(yields)
    for name in wanted:
        if name not in names:
            raise LimitsError(f"--analysis: {where} has no yields for {name}")
    return {names[name]: yields[names[name]] for name in wanted}


def _predict_signals(source: Path, store: ResultsStore, wanted: Sequence[str] | None) -> list[SignalInput]:
    from builder.model_io import read_models
    from inference.multibin.run import SignalInput
    from inference.multibin.yields import AnalysisYields, SignalEvents, predicted_yields
    from inference.predictions import Predictor
    from inference.settings import PredictionSettings

    models = read_models(source)
    predictor = Predictor(store, PredictionSettings())
    signals = []
    for number, protomodel in enumerate(models, start=1):
        yields = predicted_yields(predictor.predict(protomodel.spectrum()), store)
        if wanted is not None:
            unseen = {name: AnalysisYields(regions={region: SignalEvents(events=0.0)}) for name, region in _first_regions(store, wanted)}
            yields = {name: yields.get(name) or unseen[name] for name in wanted}
        signals.append(SignalInput(source.name if len(models) == 1 else f"{source.name} model {number}", yields))
    return signals


def _first_regions(store: ResultsStore, wanted: Sequence[str]) -> list[tuple[str, str]]:
    """One region of each wanted analysis, to say that it sees nothing.

    Raises:
        LimitsError: the results have no efficiencies for an analysis.
    """
    from inference.multibin.book import efficiency_results

    results = efficiency_results(store)
    for name in wanted:
        if name not in results:
            raise LimitsError(f"--analysis: the results have no efficiencies for {name}, so that models have no yields there; give yields")
    return [(name, str(store.dataset_ids[results[name].dataset_start])) for name in wanted]
