"""Curves of the best combination of a model, as `protomodels score` finds it."""

from __future__ import annotations

from pathlib import Path

from builder.evaluate import EvaluationSettings, Evaluator
from builder.model_io import read_models
from builder.particles import symbol
from builder.protomodel import ProtoModel
from critics.panel import judge
from database.results.store import ResultsStore
from inference.multibin.curves import CurvesFile, NamedLikelihood, tabulate_curves
from inference.multibin.settings import LimitsError
from inference.score import score
from inference.types import Outcome, PredictionKind


def score_curves(source: Path, store: ResultsStore) -> CurvesFile:
    """Curves of the first model in a file.

    Raises:
        ModelFormatError: the file holds no valid models.
        LimitsError: the model has no score.
    """
    return model_curves(read_models(source)[0], Evaluator(store, EvaluationSettings()))


def model_curves(protomodel: ProtoModel, evaluator: Evaluator, title: str | None = None) -> CurvesFile:
    """Curves of the members of a model's best combination and of their product.

    Raises:
        LimitsError: the model has no score.
    """
    settings, store = evaluator.settings, evaluator.store
    predictions = evaluator.predictor.predict(protomodel.spectrum())
    verdict = judge(predictions, store, settings.critics, skips_costly=True)
    found = score(predictions, store, evaluator.combinability.is_combinable, verdict.mu_max, settings.score)
    if found.outcome is not Outcome.OK or not found.members:
        raise LimitsError("--curves: the model has no score, so that there is no combination to draw")
    members = []
    for member in found.members:
        candidate = member.candidate
        region = store.dataset_ids[candidate.dataset] if candidate.kind is PredictionKind.EFFICIENCY_MAP else ""
        what = "limits" if candidate.kind is PredictionKind.UPPER_LIMIT else region or ""
        members.append(NamedLikelihood(candidate.analysis_id, what, candidate.likelihood))
    if title is None:
        particles = sorted(protomodel.masses.items(), key=lambda item: -item[1])
        title = "Best combination of " + ", ".join(f"{symbol(pid)} {mass:.0f} GeV" for pid, mass in particles)
    return tabulate_curves(members, title, verdict.mu_max, found.mu_hat)
