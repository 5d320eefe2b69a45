"""Full likelihoods of the results that publish HistFactory workspaces.

An analysis may publish several workspaces; they are alternatives (their regions may overlap), and the one with the smallest limit expected
before looking speaks for a signal (`region_sets`), as in SModelS. Where a workspace comes in a simplified and in a full version, the full
one is used, the simplified one only if the full one cannot be read; `Conventions.SIMPLIFIED_WORKSPACES` always takes the simplified one,
as SModelS 3.0.3 does. The signal carries the luminosity uncertainty of the workspace and the signal uncertainty that the analysis
publishes, both fully correlated over its bins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from database.results.records import ModelFileRecord, RegionRecord, RegionSetRecord, WorkspaceRecord
from inference.analysis_models.placed import PlacedModel, UnusableModelError
from inference.analysis_models.workspace_regions import RegionError, plan_channels, select_channels
from inference.likelihoods.histfactory import (
    HistFactoryLikelihood,
    HistFactoryModel,
    HistFactorySettings,
    WorkspaceError,
    compile_workspace,
)
from inference.settings import Conventions
from inference.types import DataKind, FloatArray

if TYPE_CHECKING:
    from database.results.store import ResultsStore


class WorkspaceModel:
    """A compiled workspace as the background model of an analysis.

    Args:
        compiled: the model; signals are in the order of its bins.
    """

    def __init__(self, compiled: HistFactoryModel) -> None:
        self.compiled = compiled

    @property
    def num_regions(self) -> int:
        """Number of bins."""
        return self.compiled.num_bins

    def likelihood(self, yields: FloatArray, data_kind: DataKind = DataKind.OBSERVED) -> HistFactoryLikelihood:
        """Likelihood of a signal with these expected events at μ = 1, shape (num_bins,)."""
        return HistFactoryLikelihood(self.compiled, yields, data_kind)


def place_workspace(
    spec: Mapping[str, Any],
    regions: Sequence[RegionRecord],
    datasets: Sequence[int],
    *,
    includes_crs: bool = False,
    signal_uncertainty: float | None = None,
    conventions: Conventions = Conventions.DEFAULT,
) -> PlacedModel:
    """The model of a workspace and the data sets that fill its bins.

    Args:
        spec: parsed workspace, background only.
        regions: its regions, as published.
        datasets: data set that fills each region, counted from the first of the result; -1 without one.
        includes_crs: whether control regions stay and are filled.
        signal_uncertainty: relative uncertainty of the signal yields.
        conventions: default or smodels, see `workspace_regions`.

    Raises:
        UnusableModelError: the workspace cannot be read, or its regions do not fit; says why.
    """
    try:
        removes_crs = conventions.has(Conventions.REMOVED_CONTROL_REGIONS)
        plan = plan_channels(spec, regions, includes_crs, removes_crs=removes_crs)
        settings = HistFactorySettings(signal_uncertainty=signal_uncertainty)
        model = compile_workspace(select_channels(spec, plan.kept), settings=settings)
    except (WorkspaceError, RegionError) as error:
        raise UnusableModelError(str(error).rstrip(".")) from None
    except (KeyError, TypeError, IndexError) as error:
        raise UnusableModelError(f"it is no workspace ({type(error).__name__})") from None
    columns = [datasets[plan.filled[place]] if place in plan.filled else -1 for place in model.bins]
    return PlacedModel(WorkspaceModel(model), np.array(columns, dtype=np.int32))


def build_workspace(
    store: ResultsStore, result: int, region_set: RegionSetRecord, file: ModelFileRecord, conventions: Conventions
) -> PlacedModel:
    """The model of one workspace of a result.

    Raises:
        UnusableModelError: it cannot be evaluated; says why.
    """
    payload = store.results[result].stat_payload
    try:
        spec = json.loads((store.path / file.path).read_bytes())
    except (OSError, ValueError):
        raise UnusableModelError("the file cannot be read") from None
    return place_workspace(
        spec,
        region_set.regions,
        region_set.datasets,
        includes_crs=payload.includes_crs,
        signal_uncertainty=payload.signal_uncertainty,
        conventions=conventions,
    )


def workspace_sets(store: ResultsStore, result: int, conventions: Conventions) -> tuple[RegionSetRecord, ...]:
    """The workspaces of a result as alternative sets of regions, in the published order."""
    record = store.results[result]
    positions = {
        str(store.dataset_ids[dataset]): dataset - record.dataset_start for dataset in range(record.dataset_start, record.dataset_stop)
    }
    payload = record.stat_payload
    simplified, full = payload.workspaces, payload.full_workspaces
    if conventions.has(Conventions.SIMPLIFIED_WORKSPACES) or not full:
        return tuple(_region_set(workspace, positions, ()) for workspace in simplified)
    reserves = {workspace.regions: workspace for workspace in simplified}
    sets = [_region_set(workspace, positions, (reserves.pop(workspace.regions, None),)) for workspace in full]
    covered = {region for workspace in full for region in workspace.regions}
    sets += [_region_set(workspace, positions, ()) for workspace in reserves.values() if not covered.issuperset(workspace.regions)]
    return tuple(sets)


def _region_set(workspace: WorkspaceRecord, positions: Mapping[str, int], reserves: tuple[WorkspaceRecord | None, ...]) -> RegionSetRecord:
    models = [ModelFileRecord("full_pyhf" if reserves else "pyhf", workspace.file, workspace.path)]
    models += [ModelFileRecord("pyhf", reserve.file, reserve.path) for reserve in reserves if reserve is not None]
    datasets = tuple(positions.get(region.smodels, -1) if region.smodels is not None else -1 for region in workspace.regions)
    return RegionSetRecord(workspace.file, workspace.regions, datasets, (), tuple(models), ())
