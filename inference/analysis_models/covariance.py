"""Simplified likelihoods of the results that publish a covariance, with third moments where these are published too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.likelihoods.covariance import CovarianceModel
from inference.settings import Conventions

if TYPE_CHECKING:
    from database.results.store import ResultsStore


def build_covariance_model(store: ResultsStore, result: int, conventions: Conventions) -> CovarianceModel:
    """The background model of a result with a covariance."""
    record = store.results[result]
    covariance = store.covariance(result)
    regions = slice(record.dataset_start, record.dataset_start + len(covariance))
    third = store.third_moment[regions] if record.stat_model == "sl_v2" else None
    return CovarianceModel(store.observed_n[regions], store.expected_bg[regions], covariance, third, conventions)
