"""Workspaces that users bring along, with a map from regions to channels: analyses of their own, or better models of known ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from database.results.records import RegionRecord
from database.searches.records import RegionMap
from database.searches.workspaces import WorkspaceFile
from inference.analysis_models.learned import find_input
from inference.analysis_models.placed import PlacedModel, UnusableModelError
from inference.likelihoods.histfactory import HistFactorySettings, WorkspaceError, compile_workspace
from inference.multibin.analyses import Analysis, BuildOptions, ModelKind, Offer, SetModel
from inference.multibin.settings import Backend, LimitsError, ModelChoice
from inference.multibin.store_models import place_for


class UserWorkspace(NamedTuple):
    """A workspace with its map.

    Attributes:
        file: the workspace.
        regions: which channel each region is.
        identity: what its digest says, as a sentence without a full stop.
    """

    file: WorkspaceFile
    regions: RegionMap
    identity: str


def workspace_analysis(workspaces: tuple[UserWorkspace, ...], base: Analysis | None, surrogates: tuple[Path, ...] = ()) -> Analysis:
    """The analysis of one or several workspaces.

    Args:
        workspaces: all of one analysis, one per set of regions.
        base: what is known of the analysis from elsewhere; None for a new one.
        surrogates: learned models of the workspaces, in files.

    Raises:
        LimitsError: a new analysis lacks experiment or energy, or a region has no place in its workspace; names the field.
    """
    first = workspaces[0].regions
    names = list(base.regions) if base is not None else []
    for workspace in workspaces:
        names += [region for region in workspace.regions.regions if region not in names]
    if base is None:
        for field in ("experiment", "sqrts_tev"):
            if getattr(first, field) is None:
                raise LimitsError(f"the region map of {first.analysis}: {field}: this field is missing, and no results know this analysis")
        nothing = np.full(len(names), np.nan)
        base = Analysis(
            name=first.analysis,
            experiment=str(first.experiment),
            sqrts_tev=float(first.sqrts_tev or 0),
            lumi_ifb=float("nan") if first.lumi_ifb is None else first.lumi_ifb,
            regions=(),
            observed=nothing,
            background=nothing,
            errors=nothing,
            origin="",
            offer=_no_models,
        )
    missing = np.full(len(names) - len(base.regions), np.nan)
    for workspace in workspaces:
        _check_places(workspace)
    origin = "workspace of the user" + (f" on top of {base.origin}" if base.origin else "")
    return replace(
        base,
        regions=tuple(names),
        observed=np.append(base.observed[: len(base.regions)], missing),
        background=np.append(base.background[: len(base.regions)], missing),
        errors=np.append(base.errors[: len(base.regions)], missing),
        origin=origin,
        offer=UserModels(workspaces, tuple(names), surrogates),
    )


def _no_models(choice: ModelChoice) -> Offer:
    return Offer(())


def _check_places(workspace: UserWorkspace) -> None:
    try:
        sizes = {str(entry["name"]): len(entry["data"]) for entry in workspace.file.spec["observations"]}
    except (KeyError, TypeError):
        raise LimitsError(f"{workspace.file.name}: observations: expected a list of channels with data") from None
    for region, place in workspace.regions.regions.items():
        where = f"the region map of {workspace.regions.analysis}: regions[{region}]"
        if place.channel not in sizes:
            raise LimitsError(f"{where}: the workspace has no channel {place.channel}; it has {', '.join(sorted(sizes))}")
        if place.bin >= sizes[place.channel]:
            raise LimitsError(f"{where}: the channel {place.channel} has no bin {place.bin}, but {sizes[place.channel]} bins")


class UserModels:
    """Models of users' workspaces.

    Args:
        workspaces: one per set of regions.
        names: all regions of the analysis.
        surrogates: learned models of the workspaces, in files.
    """

    def __init__(self, workspaces: tuple[UserWorkspace, ...], names: tuple[str, ...], surrogates: tuple[Path, ...] = ()) -> None:
        self._workspaces, self._names, self._surrogates = workspaces, names, surrogates

    def __call__(self, choice: ModelChoice) -> Offer:
        """The models for a choice."""
        if choice is ModelChoice.SURROGATE:
            sets = tuple(self._network(path) for path in self._surrogates)
            missing = "there is no learned model of it; 'protomodels surrogate train' makes one, --surrogate names it"
            return Offer(sets, reason=() if sets else (missing,))
        kind = ModelKind.SIMPLIFIED if choice is ModelChoice.SIMPLE else ModelKind.FULL
        return Offer(tuple(self._set(workspace, kind) for workspace in self._workspaces))

    def _set(self, workspace: UserWorkspace, kind: ModelKind) -> SetModel:
        file = workspace.file.path.name + (f"#{workspace.file.member}" if workspace.file.member else "")
        what = "simplified from" if kind is ModelKind.SIMPLIFIED else "full"
        return SetModel(
            workspace.regions.set_name,
            kind,
            f"{what} workspace {file}",
            lambda options: self._build(workspace, kind, options),
            tuple(Backend),
            (workspace.identity,),
        )

    def _build(self, workspace: UserWorkspace, kind: ModelKind, options: BuildOptions) -> PlacedModel:
        region_map = workspace.regions
        places = region_map.regions
        sizes = {entry["name"]: len(entry["data"]) for entry in workspace.file.spec["observations"]}
        regions = tuple(RegionRecord(name, _describe(place.channel, place.bin, sizes), place.type) for name, place in places.items())
        datasets = tuple(self._names.index(name) for name in places)
        settings = HistFactorySettings(
            measurement=region_map.measurement,
            signal_uncertainty=region_map.signal_uncertainty,
            has_signal_staterror=options.has_signal_errors,
        )
        spec, includes_crs = workspace.file.spec, region_map.includes_crs
        if kind is ModelKind.SIMPLIFIED:
            spec, settings = self._simplify(workspace), HistFactorySettings(signal_uncertainty=region_map.signal_uncertainty)
            kept = [k for k, region in enumerate(regions) if region.type == "SR"]
            regions, datasets = tuple(regions[k] for k in kept), tuple(datasets[k] for k in kept)
            includes_crs = False
        return place_for(spec, regions, datasets, includes_crs, settings, options.backend)

    def _network(self, path: Path) -> SetModel:
        return SetModel(path.name, ModelKind.NETWORK, f"surrogate {path.name}", lambda options: self._place_network(path))

    def _place_network(self, path: Path) -> PlacedModel:
        """A surrogate of one of the workspaces, its inputs filled by the regions of the map."""
        from inference.analysis_models.surrogates import load_surrogate

        model = load_surrogate(path)
        source = model.layout.origin.get("source")
        digest = str(source.get("digest", "")) if isinstance(source, dict) else ""
        matching = [workspace for workspace in self._workspaces if digest and workspace.file.sha256.startswith(digest)]
        if not matching:
            raise UnusableModelError(f"{path.name} was made from another workspace")
        columns = np.full(model.num_regions, -1, dtype=np.int32)
        for region, place in matching[0].regions.regions.items():
            found = find_input(f"{place.channel}[{place.bin}]", model.layout.names)
            if found >= 0:
                columns[found] = self._names.index(region)
        return PlacedModel(model, columns)

    def _simplify(self, workspace: UserWorkspace) -> dict[str, object]:
        from inference.likelihoods.simplified import simplify_workspace

        settings = HistFactorySettings(measurement=workspace.regions.measurement)
        try:
            return simplify_workspace(workspace.file.spec, compile_workspace(workspace.file.spec, settings=settings))
        except WorkspaceError as error:
            raise UnusableModelError(str(error).rstrip(".")) from None


def _describe(channel: str, position: int, sizes: dict[str, int]) -> str:
    return f"{channel}[{position}]" if sizes.get(channel, 1) > 1 else channel
