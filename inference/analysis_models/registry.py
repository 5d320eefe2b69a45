"""Finds the statistical model of a result; models are made once per store, result and convention, checked, and shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from inference.analysis_models.canary import CanaryReport, check_canary, guard_model
from inference.analysis_models.covariance import build_covariance_model
from inference.analysis_models.protocol import AnalysisModel
from inference.analysis_models.region_sets import build_region_sets
from inference.settings import Conventions

if TYPE_CHECKING:
    from database.results.store import ResultsStore

Builder = Callable[["ResultsStore", int, Conventions], AnalysisModel | None]

BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {"sl_v1": build_covariance_model, "sl_v2": build_covariance_model, "region_sets": build_region_sets, "pyhf": build_region_sets}
)
"""Builder per kind of statistical model (`ResultRecord.stat_model`); it returns None where files are missing."""

_models: dict[tuple[str, int, Conventions], AnalysisModel | None] = {}


def find_analysis_model(store: ResultsStore, result: int, conventions: Conventions) -> AnalysisModel | None:
    """The statistical model of a result; None if it has none that can be evaluated.

    An analysis without one enters the combination through a single signal region. A model with default conventions is compared with its
    canary when it is made; one that gives other answers is switched off (`canary`).
    """
    key = (store.content_hash, result, conventions)
    if key not in _models:
        build = BUILDERS.get(store.results[result].stat_model)
        model = build(store, result, conventions) if build is not None else None
        _models[key] = guard_model(store, result, model) if model is not None and conventions is Conventions.DEFAULT else model
    return _models[key]


def find_canary(store: ResultsStore, result: int) -> CanaryReport | None:
    """What the canary of a result's statistical model says, switched off or not; None without a model."""
    build = BUILDERS.get(store.results[result].stat_model)
    model = build(store, result, Conventions.DEFAULT) if build is not None else None
    return None if model is None else check_canary(store, result, model)
