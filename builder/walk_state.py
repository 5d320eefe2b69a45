"""Where a walk stands, and how that is stored.

Walk: protomodel, evaluation ──▶ **walk state** ──▶ kernel, checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.evaluation import Evaluation
from builder.evaluation_json import evaluation_from_json, evaluation_to_json
from builder.protomodel import ProtoModel
from database.errors import ModelFormatError
from inference.types import Outcome

STATE_FORMAT = 1
"""Version of the stored walk state."""


def score_of(evaluation: Evaluation) -> float:
    """Return K, -inf where there is no finite one."""
    is_usable = evaluation.outcome == Outcome.OK and math.isfinite(evaluation.k)
    return evaluation.k if is_usable else -math.inf


def admissible_k(evaluation: Evaluation) -> float:
    """Return K, -inf where there is no finite one or a critic vetoed the model."""
    return -math.inf if evaluation.verdict.is_excluded else score_of(evaluation)


@dataclass(frozen=True, slots=True)
class WalkState:
    """Where a walk stands.

    Attributes:
        protomodel: the current model.
        evaluation: its score and verdict.
        step: number of steps done.
        best_protomodel: the model with the largest K the walk has accepted.
        best_evaluation: its score and verdict.
        is_scaled: False for a start that no allowed multipliers bring to mu_hat = 1; it has no K the walk could defend.
    """

    protomodel: ProtoModel
    evaluation: Evaluation
    step: int
    best_protomodel: ProtoModel
    best_evaluation: Evaluation
    is_scaled: bool = True

    @property
    def k(self) -> float:
        """Return K of the current model, -inf where it has no score, a critic vetoed it, or it could not be scaled."""
        return admissible_k(self.evaluation) if self.is_scaled else -math.inf

    @property
    def best_k(self) -> float:
        """Return K of the best model, -inf as long as there is none with a score and without a veto."""
        return admissible_k(self.best_evaluation) if self.is_scaled else -math.inf

    def to_json(self) -> dict[str, Any]:
        """Return the state as a JSON object, floats exact; the best model is left out where it is the current one."""
        is_best = self.best_protomodel == self.protomodel
        return {
            "format": STATE_FORMAT,
            "step": self.step,
            "is_scaled": self.is_scaled,
            "protomodel": self.protomodel.to_json(),
            "evaluation": evaluation_to_json(self.evaluation),
            "best_protomodel": None if is_best else self.best_protomodel.to_json(),
            "best_evaluation": None if is_best else evaluation_to_json(self.best_evaluation),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> WalkState:
        """Return the state of a JSON object.

        Raises:
            ModelFormatError: the object is of another version, or a field is missing or not valid.
        """
        if not isinstance(document, Mapping) or document.get("format") != STATE_FORMAT:
            raise ModelFormatError(f"Walk state: this release reads format {STATE_FORMAT}.")
        try:
            step, is_scaled = int(document["step"]), bool(document["is_scaled"])
            protomodel = ProtoModel.from_json(document["protomodel"])
            evaluation = evaluation_from_json(document["evaluation"])
            best_protomodel, best_evaluation = protomodel, evaluation
            if document["best_protomodel"] is not None:
                best_protomodel = ProtoModel.from_json(document["best_protomodel"])
                best_evaluation = evaluation_from_json(document["best_evaluation"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFormatError(f"Walk state: {type(error).__name__} {error}.") from error
        return cls(protomodel, evaluation, step, best_protomodel, best_evaluation, is_scaled)
