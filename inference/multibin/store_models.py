"""Analyses of a compiled store, and the statistical models of their sets of regions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from database.results.records import ModelFileRecord, RegionRecord, RegionSetRecord, ResultRecord
from inference.analysis_models.canary import CanaryStatus
from inference.analysis_models.histfactory import WorkspaceModel, place_workspace, workspace_sets
from inference.analysis_models.learned import build_learned_model
from inference.analysis_models.placed import PlacedModel, UnusableModelError
from inference.analysis_models.region_sets import BUILDERS
from inference.analysis_models.registry import find_analysis_model, find_canary
from inference.analysis_models.workspace_regions import RegionError, plan_channels, select_channels
from inference.likelihoods.covariance import CovarianceModel
from inference.likelihoods.histfactory import HistFactorySettings, WorkspaceError
from inference.multibin.analyses import Analysis, BuildOptions, ModelKind, Offer, SetModel, compile_for, simple_set
from inference.multibin.settings import Backend, ModelChoice
from inference.settings import Conventions

if TYPE_CHECKING:
    from pathlib import Path

    from database.results.store import ResultsStore
    from database.searches.catalogue import Search

WORKSPACES = ("pyhf", "full_pyhf")
COVARIANCES = ("sl_v1", "sl_v2")


def store_analysis(store: ResultsStore, result: int, search: Search | None, surrogates: tuple[Path, ...] = ()) -> Analysis:
    """An efficiency-map result as an analysis.

    Args:
        store: compiled results.
        result: its index.
        search: entry of the catalogue, if it has one.
        surrogates: learned models in files of the user.
    """
    record = store.results[result]
    rows = slice(record.dataset_start, record.dataset_stop)
    counts = tuple(np.ascontiguousarray(values[rows], dtype=np.float64) for values in (store.observed_n, store.expected_bg, store.bg_error))
    models = StoreModels(store, result, search, surrogates)
    aliases = () if search is None else (search.entry.analysis, *search.entry.aliases)
    release = "the embedded excerpt" if record.is_approximate else f"results {store.text_version}"
    return Analysis(
        name=record.analysis_id,
        experiment=record.experiment,
        sqrts_tev=record.sqrts_tev,
        lumi_ifb=record.lumi_ifb,
        regions=tuple(str(name) for name in store.dataset_ids[rows]),
        observed=counts[0],
        background=counts[1],
        errors=counts[2],
        origin=release,
        offer=models,
        is_approximate=record.is_approximate,
        supersedes=record.supersedes,
        superseded_by=record.superseded_by,
        aliases=tuple(alias for alias in aliases if alias != record.analysis_id),
    )


class StoreModels:
    """Models of one result.

    Args:
        store, result, search, surrogates: as `store_analysis`.
    """

    def __init__(self, store: ResultsStore, result: int, search: Search | None, surrogates: tuple[Path, ...]) -> None:
        self._store, self._result, self._search, self._surrogates = store, result, search, surrogates
        self._record: ResultRecord = store.results[result]
        start, stop = self._record.dataset_start, self._record.dataset_stop
        self._regions = tuple(str(name) for name in store.dataset_ids[start:stop])
        self._counts = (store.observed_n[start:stop], store.expected_bg[start:stop], store.bg_error[start:stop])

    def __call__(self, choice: ModelChoice) -> Offer:
        """The models for a choice."""
        canary = find_canary(self._store, self._result)
        if canary is not None and canary.status is CanaryStatus.FAILED:
            return Offer((), reason=("its statistical model is switched off: its answer for a fixed signal is not the known one",))
        if choice is ModelChoice.SURROGATE:
            return self._offer_surrogates()
        if self._record.stat_model in COVARIANCES:
            return Offer((self._covariance(),))
        entries = self._entries()
        if choice is ModelChoice.SIMPLE:
            return self._offer_simple(entries)
        sets = [found for entry in entries if (found := self._full(entry)) is not None]
        reason = [f"the published workspace {name} is missing" for name in self._record.stat_payload.missing_files]
        if not sets:
            hint = "; their counts give a simplified one (--model simple)" if self._search is not None and self._search.entry.sets else ""
            reason.append(f"no statistical model of its regions is in these results{hint}")
        if self._search is not None and (not sets or reason):
            reason += [f"{needed.what}: {needed.doi}" for needed in self._search.entry.needed if needed.doi]
        return Offer(tuple(sets), reason=tuple(reason))

    def _entries(self) -> tuple[RegionSetRecord, ...]:
        if self._record.stat_model not in ("pyhf", "region_sets"):
            return ()
        return self._record.stat_payload.region_sets or workspace_sets(self._store, self._result, Conventions.DEFAULT)

    # ------------------------------------------------------------------------------------------------------ covariances

    def _covariance(self) -> SetModel:
        kind = " with third moments" if self._record.stat_model == "sl_v2" else ""
        description = f"covariance of {self._record.num_combined} regions{kind}"

        def build(options: BuildOptions) -> PlacedModel:
            model = find_analysis_model(self._store, self._result, Conventions.DEFAULT)
            if not isinstance(model, CovarianceModel):
                raise UnusableModelError("it has no covariance model that can be evaluated")
            return PlacedModel(model, np.arange(model.num_bins, dtype=np.int32))

        return SetModel("", ModelKind.COVARIANCE, description, build)

    # ------------------------------------------------------------------------------------------------------- workspaces

    def _full(self, entry: RegionSetRecord) -> SetModel | None:
        """The preferred model of a set that is neither a network nor missing."""
        usable = [file for file in entry.models if not file.is_missing and file.kind != "onnx"]
        if not usable:
            return None
        file = usable[0]
        if file.kind not in WORKSPACES:
            return SetModel(entry.name, ModelKind.COVARIANCE, f"covariance {file.file}", lambda options: self._published(entry, file))
        is_simplified = "simplified" in file.file and file.kind != "full_pyhf"
        kind = ModelKind.SIMPLIFIED if is_simplified else ModelKind.FULL
        description = f"{'simplified' if is_simplified else 'full'} workspace {file.file}"
        notes = ("only a simplified workspace is published here",) if is_simplified else ()
        return SetModel(entry.name, kind, description, lambda options: self._workspace(entry, file, options), tuple(Backend), notes)

    def _published(self, entry: RegionSetRecord, file: ModelFileRecord) -> PlacedModel:
        return BUILDERS[file.kind](self._store, self._result, entry, file, Conventions.DEFAULT)

    def _workspace(self, entry: RegionSetRecord, file: ModelFileRecord, options: BuildOptions) -> PlacedModel:
        try:
            spec = json.loads((self._store.path / file.path).read_bytes())
        except (OSError, ValueError):
            raise UnusableModelError(f"the file {file.file} cannot be read") from None
        payload = self._record.stat_payload
        settings = HistFactorySettings(signal_uncertainty=payload.signal_uncertainty, has_signal_staterror=options.has_signal_errors)
        return place_for(spec, entry.regions, entry.datasets, payload.includes_crs, settings, options.backend)

    # -------------------------------------------------------------------------------------------------- simplified models

    def _offer_simple(self, entries: tuple[RegionSetRecord, ...]) -> Offer:
        payload = self._record.stat_payload
        published = {w.regions: w for w in payload.workspaces} if payload.full_workspaces or payload.missing_files else {}
        sets = []
        for entry in entries:
            workspace = published.get(entry.regions)
            file = next((f for f in entry.models if not f.is_missing and f.kind == "pyhf" and "simplified" in f.file), None)
            if workspace is not None:
                file = ModelFileRecord("pyhf", workspace.file, workspace.path)
            if file is not None:
                sets.append(self._simplified(entry, file))
            else:
                members = self._signal_regions(entry)
                if members:
                    sets.append(simple_set(self._regions, entry.name, members, self._counts))
        search = self._search
        if not sets and search is not None:
            sets = [found for name, members in search.entry.sets.items() if (found := self._catalogued(name, members)) is not None]
        disjoint = search is not None and bool(search.entry.sets) and search.entry.sets_are_disjoint
        reason = () if sets else ("no source says which of its regions share no events",)
        return Offer(tuple(sets), disjoint, reason)

    def _simplified(self, entry: RegionSetRecord, file: ModelFileRecord) -> SetModel:
        description = f"simplified workspace {file.file}"
        return SetModel(
            entry.name, ModelKind.SIMPLIFIED, description, lambda options: self._workspace(entry, file, options), tuple(Backend)
        )

    def _catalogued(self, name: str, members: tuple[str, ...]) -> SetModel | None:
        """The model of a set that the catalogue names, as far as these results have its regions."""
        present = tuple(member for member in members if member in self._regions)
        if not present:
            return None
        notes = () if present == members else (f"only {len(present)} of the {len(members)} regions of {name} are in these results",)
        return simple_set(self._regions, name, present, self._counts)._replace(notes=notes)

    def _signal_regions(self, entry: RegionSetRecord) -> tuple[str, ...]:
        """Regions of a set that are filled by data sets with counts and are no control regions."""
        found = []
        for region, dataset in zip(entry.regions, entry.datasets, strict=True):
            if dataset >= 0 and region.type == "SR" and all(np.isfinite(values[dataset]) for values in self._counts):
                found.append(self._regions[dataset])
        return tuple(found)

    # ----------------------------------------------------------------------------------------------------------- networks

    def _offer_surrogates(self) -> Offer:
        sets = [
            SetModel(path.name, ModelKind.NETWORK, f"surrogate {path.name}", _surrogate_builder(self._store, self._result, path))
            for path in self._surrogates
        ]
        sets += [
            SetModel(entry.name, ModelKind.NETWORK, f"network {file.file}", self._network_builder(entry, file))
            for entry in self._entries()
            for file in entry.models
            if file.kind == "onnx" and not file.is_missing
        ]
        reason = () if sets else ("there is no learned model of it; 'protomodels surrogate train' makes one, --surrogate names it",)
        return Offer(tuple(sets), reason=reason)

    def _network_builder(self, entry: RegionSetRecord, file: ModelFileRecord) -> Any:
        return lambda options: build_learned_model(self._store, self._result, entry, file, Conventions.DEFAULT)


def _surrogate_builder(store: ResultsStore, result: int, path: Path) -> Any:
    def build(options: BuildOptions) -> PlacedModel:
        from inference.analysis_models.surrogates import place_surrogate

        return place_surrogate(store, result, path)

    return build


def place_for(
    spec: Mapping[str, Any],
    regions: tuple[RegionRecord, ...],
    datasets: tuple[int, ...],
    includes_crs: bool,
    settings: HistFactorySettings,
    backend: Backend,
) -> PlacedModel:
    """The model of a workspace in a backend, with the region that fills each bin; arguments as `place_workspace`.

    Raises:
        UnusableModelError: the workspace cannot be read, or its regions do not fit; says why.
    """
    if backend is Backend.NUMBA and not settings.has_signal_staterror and settings.measurement == 0:
        return place_workspace(spec, regions, datasets, includes_crs=includes_crs, signal_uncertainty=settings.signal_uncertainty)
    try:
        plan = plan_channels(spec, regions, includes_crs)
        model = compile_for(select_channels(spec, plan.kept), settings, backend)
    except (WorkspaceError, RegionError) as error:
        raise UnusableModelError(str(error).rstrip(".")) from None
    except (KeyError, TypeError, IndexError) as error:
        raise UnusableModelError(f"it is no workspace ({type(error).__name__})") from None
    bins = model.compiled.bins if isinstance(model, WorkspaceModel) else model.bins
    columns = [datasets[plan.filled[place]] if place in plan.filled else -1 for place in bins]
    return PlacedModel(model, np.array(columns, dtype=np.int32))
