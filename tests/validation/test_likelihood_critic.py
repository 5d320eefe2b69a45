"""The combined-likelihood critic against SModelS 3.0.3: observed and expected r of the same combinations of analyses.

likelihood_critic.json comes from `benchmarks.smodels_critic`, which says how; its models are the reference protomodels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from builder.evaluate import EvaluationSettings, Evaluator
from builder.model_io import read_models
from builder.protomodel import ProtoModel
from critics.likelihood import LikelihoodContext, find_most_sensitive, judge_by_likelihood, select_factors
from critics.settings import CriticSettings
from database.results.store import ResultsStore
from inference.settings import Conventions, PredictionSettings

pytestmark = pytest.mark.full_database

ANSWERS: dict[str, Any] = json.loads(Path(__file__).with_name("likelihood_critic.json").read_text(encoding="utf-8"))
ROOT_PRECISION = 1e-3
"""SModelS searches the root of CLs to this precision; the median difference is 6e-5."""
SKEWED, SKEWED_PRECISION = "CMS-SUS-20-004", 5e-3
"""The fits of this analysis's skewed backgrounds end a little above the minimum in SModelS."""


@pytest.fixture(scope="module")
def models(reference_data: Path) -> list[ProtoModel]:
    return list(read_models(reference_data / "reference_protomodels.json"))


@pytest.fixture(scope="module")
def evaluator(full_store: ResultsStore, reference_kernels: None) -> Evaluator:
    return Evaluator(full_store, EvaluationSettings(predictions=PredictionSettings(conventions=Conventions.SMODELS)))


@pytest.mark.parametrize("number", ANSWERS)
def test_limits_of_combinations(number: str, models: list[ProtoModel], evaluator: Evaluator) -> None:
    store, settings, answer = evaluator.store, CriticSettings(), ANSWERS[number]
    predictions = evaluator.predictor.predict(models[int(number)].spectrum())
    context = LikelihoodContext(evaluator.combinability.is_combinable, Conventions.SMODELS, full_likelihoods=False)
    members = find_most_sensitive(select_factors(predictions, store, settings, context).factors, context.is_combinable)
    assert [[m.analysis_id, store.dataset_ids[m.dataset] if m.dataset >= 0 else None] for m in members] == answer["members"]
    verdict = judge_by_likelihood(predictions, store, settings, context)
    has_skewed = any(m.analysis_id == SKEWED for m in members)
    tolerance = SKEWED_PRECISION if has_skewed else ROOT_PRECISION
    assert (verdict.r_obs, verdict.r_exp) == pytest.approx((answer["r_obs"], answer["r_exp"]), rel=tolerance)
    assert verdict.is_excluded is (answer["r_obs"] >= 1.0)
