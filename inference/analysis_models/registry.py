"""Finds the statistical model of a result; models are made once per store, result and convention, and shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

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

    An analysis without one enters the combination through a single signal region.
    """
    key = (store.content_hash, result, conventions)
    if key not in _models:
        build = BUILDERS.get(store.results[result].stat_model)
        _models[key] = build(store, result, conventions) if build is not None else None
    return _models[key]
