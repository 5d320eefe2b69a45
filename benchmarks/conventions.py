"""What the quirks of the reference change in K, in the best combination and in the critics' verdicts, all of them and one by one.

    python -m benchmarks.conventions MODELS.json [--walk 300] [--seed 1] [--results STORE]

Evaluates every model of MODELS, and as many models of seeded walks, by default and under each of the conventions
(`inference.settings.Conventions`), and prints how many differ from the default. A model counts as changed in its verdict where
upper_limit_v1 caps the signal strength below 1 under one of the two and not under the other, or upper_limit_v2 excludes it under one only.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from inference.settings import Conventions

if TYPE_CHECKING:
    from builder.evaluate import Evaluator
    from builder.protomodel import ProtoModel
    from database.results.store import ResultsStore

BARS = (0.01, 0.1, 1.0)
"""Changes of K that are counted."""


class Judged(NamedTuple):
    """What one evaluation says of a model.

    Attributes:
        k: K; -inf without a score.
        tl: T_L.
        mu_hat: signal strength of the best combination.
        members: the best combination.
        mu_max: cap of upper_limit_v1.
        is_excluded: veto of upper_limit_v2.
    """

    k: float
    tl: float
    mu_hat: float
    members: tuple[tuple[str, str, str | None], ...]
    mu_max: float
    is_excluded: bool

    @property
    def is_capped(self) -> bool:
        """Whether the model is stronger than upper_limit_v1 allows."""
        return self.mu_max < 1.0


@dataclass
class Changes:
    """What a convention changes relative to the default.

    Attributes:
        num_above: models whose K changes by more than each of `BARS`.
        num_scores: models that have a score under one of the two only.
        num_combinations: models with another best combination.
        num_caps: models capped below 1 by upper_limit_v1 under one of the two only.
        num_exclusions: models that upper_limit_v2 excludes under one of the two only.
        worst: largest change of K, signed, and the model.
        where: models with a change of K above the first bar, or of a verdict.
    """

    num_above: list[int] = field(default_factory=lambda: [0] * len(BARS))
    num_scores: int = 0
    num_combinations: int = 0
    num_caps: int = 0
    num_exclusions: int = 0
    worst: tuple[float, str] = (0.0, "–")
    where: list[str] = field(default_factory=list)

    def add(self, name: str, default: Judged, other: Judged) -> None:
        """Count one model."""
        has_scores = math.isfinite(default.k), math.isfinite(other.k)
        change = other.k - default.k if all(has_scores) else 0.0
        is_verdict_changed = default.is_capped != other.is_capped or default.is_excluded != other.is_excluded
        self.num_scores += has_scores[0] != has_scores[1]
        for number, bar in enumerate(BARS):
            self.num_above[number] += abs(change) > bar
        self.num_combinations += default.members != other.members
        self.num_caps += default.is_capped != other.is_capped
        self.num_exclusions += default.is_excluded != other.is_excluded
        if abs(change) > abs(self.worst[0]):
            self.worst = change, name
        if abs(change) > BARS[0] or is_verdict_changed or has_scores[0] != has_scores[1]:
            self.where.append(name)


def build_evaluator(store: ResultsStore, conventions: Conventions) -> Evaluator:
    """Evaluator of the walk under some conventions."""
    from builder.evaluate import EvaluationSettings, Evaluator
    from inference.score import ScoreSettings
    from inference.settings import PredictionSettings

    settings = EvaluationSettings(predictions=PredictionSettings(conventions=conventions), score=ScoreSettings(conventions=conventions))
    return Evaluator(store, settings)


def judge_model(evaluator: Evaluator, model: ProtoModel) -> Judged:
    """Score and verdicts of a model."""
    from critics.upper_limit import judge_by_counting, judge_by_mu_max

    predictions = evaluator.predictor.predict(model.spectrum())
    found = evaluator.evaluate_predictions(model, predictions)
    critics = evaluator.settings.critics
    return Judged(
        k=found.k,
        tl=found.tl,
        mu_hat=found.mu_hat,
        members=tuple((member.analysis_id, member.kind, member.dataset_id) for member in found.combination),
        mu_max=judge_by_mu_max(predictions, evaluator.store, critics).mu_max,
        is_excluded=judge_by_counting(predictions, evaluator.store, critics).is_excluded,
    )


def compare_conventions(store: ResultsStore, models: Sequence[tuple[str, ProtoModel]]) -> dict[Conventions, Changes]:
    """What each of the conventions changes relative to the default, over named models."""
    evaluator = build_evaluator(store, Conventions.DEFAULT)
    default = {name: judge_model(evaluator, model) for name, model in models}
    changes: dict[Conventions, Changes] = {}
    for conventions in Conventions:
        if conventions is not Conventions.DEFAULT:
            evaluator = build_evaluator(store, conventions)
            found = changes[conventions] = Changes()
            for name, model in models:
                found.add(name, default[name], judge_model(evaluator, model))
    return changes


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--walk", type=int, default=300, help="models of seeded walks beside those of the file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", default=None)
    arguments = parser.parse_args()

    from benchmarks.models import walk_models
    from builder.model_io import read_models
    from services.stores import open_results

    store = open_results(arguments.results)
    samples = {"file": read_models(arguments.models)}
    samples["walk"] = walk_models(build_evaluator(store, Conventions.DEFAULT), arguments.walk, arguments.seed)
    for sample, models in samples.items():
        changes = compare_conventions(store, [(f"{sample} {number}", model) for number, model in enumerate(models)])
        print(f"{len(models)} models of the {sample}")
        header = "".join(f"{f'|ΔK|>{bar:g}':>10}" for bar in BARS)
        print(f"{'conventions':26}{header}{'worst ΔK':>10}{'score':>7}{'comb.':>7}{'v1 cap':>8}{'v2 veto':>8}  worst; changed models")
        for conventions, found in changes.items():
            counts = "".join(f"{count:10d}" for count in found.num_above)
            tail = f"{found.worst[1]}; {', '.join(name.split()[1] for name in found.where[:12])}"
            print(
                f"{conventions.value:26}{counts}{found.worst[0]:10.3f}{found.num_scores:7d}{found.num_combinations:7d}"
                f"{found.num_caps:8d}{found.num_exclusions:8d}  {tail}{' …' if len(found.where) > 12 else ''}"
            )


if __name__ == "__main__":
    main()
