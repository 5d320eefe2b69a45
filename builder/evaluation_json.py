"""Evaluations as JSON objects that keep every float.

Walk: evaluation ──▶ **evaluation json** ──▶ checkpoints, hiscores. Finite floats are exact because JSON text carries their shortest
representation; inf and nan, which JSON lacks, travel as the strings "inf", "-inf" and "nan".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from builder.evaluation import Evaluation, Member, PriorTerms
from critics.verdict import Verdict
from database.errors import ModelFormatError
from inference.types import Outcome


def encode_float(value: float) -> float | str:
    """Return a JSON value for any float.

    Examples:
        >>> encode_float(0.1), encode_float(float("-inf"))
        (0.1, '-inf')
    """
    number = float(value)
    return number if math.isfinite(number) else str(number)


def decode_float(value: object) -> float:
    """Return the float of a JSON value.

    Raises:
        ModelFormatError: the value is neither a number nor one of "inf", "-inf", "nan".
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if value in ("inf", "-inf", "nan"):
        return float(str(value))
    raise ModelFormatError(f"Stored evaluation: expected a number, found {value!r}.")


def member_to_json(member: Member) -> dict[str, Any]:
    """Return a member of a combination as a JSON object."""
    return {
        "analysis_id": member.analysis_id,
        "kind": member.kind,
        "dataset_id": member.dataset_id,
        "txnames": list(member.txnames),
        "observed": encode_float(member.observed),
        "expected": encode_float(member.expected),
        "expected_error": encode_float(member.expected_error),
        "z": encode_float(member.z),
        "signal": encode_float(member.signal),
        "pids": list(member.pids),
        "log_likelihood_ratio": encode_float(member.log_likelihood_ratio),
    }


def member_from_json(document: Mapping[str, Any]) -> Member:
    """Return the member of a JSON object."""
    return Member(
        analysis_id=str(document["analysis_id"]),
        kind=str(document["kind"]),
        dataset_id=None if document["dataset_id"] is None else str(document["dataset_id"]),
        txnames=tuple(str(name) for name in document["txnames"]),
        observed=decode_float(document["observed"]),
        expected=decode_float(document["expected"]),
        expected_error=decode_float(document["expected_error"]),
        z=decode_float(document["z"]),
        signal=decode_float(document["signal"]),
        pids=tuple(int(pid) for pid in document["pids"]),
        log_likelihood_ratio=decode_float(document["log_likelihood_ratio"]),
    )


def evaluation_to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as a JSON object."""
    verdict, terms = evaluation.verdict, evaluation.prior_terms
    return {
        "outcome": str(evaluation.outcome),
        "k": encode_float(evaluation.k),
        "tl": encode_float(evaluation.tl),
        "mu_hat": encode_float(evaluation.mu_hat),
        "mu_max": encode_float(evaluation.mu_max),
        "log_prior": encode_float(evaluation.log_prior),
        "prior_terms": {
            "num_particles": terms.num_particles,
            "num_branching_ratios": terms.num_branching_ratios,
            "num_ssms": encode_float(terms.num_ssms),
        },
        "verdict": {
            "is_excluded": bool(verdict.is_excluded),
            "mu_max": encode_float(verdict.mu_max),
            "r_obs": encode_float(verdict.r_obs),
            "r_exp": encode_float(verdict.r_exp),
            "reason": verdict.reason,
            "num_undefined": int(verdict.num_undefined),
        },
        "combination": [member_to_json(member) for member in evaluation.combination],
        "failures": {str(name): int(count) for name, count in evaluation.failures.items()},
        "num_predictions": int(evaluation.num_predictions),
    }


def evaluation_from_json(document: Mapping[str, Any]) -> Evaluation:
    """Return the evaluation of a JSON object.

    Raises:
        ModelFormatError: a field is missing or not valid.
    """
    try:
        verdict, terms = document["verdict"], document["prior_terms"]
        return Evaluation(
            outcome=Outcome(document["outcome"]),
            k=decode_float(document["k"]),
            tl=decode_float(document["tl"]),
            mu_hat=decode_float(document["mu_hat"]),
            mu_max=decode_float(document["mu_max"]),
            log_prior=decode_float(document["log_prior"]),
            prior_terms=PriorTerms(
                num_particles=int(terms["num_particles"]),
                num_branching_ratios=int(terms["num_branching_ratios"]),
                num_ssms=decode_float(terms["num_ssms"]),
            ),
            verdict=Verdict(
                is_excluded=bool(verdict["is_excluded"]),
                mu_max=decode_float(verdict["mu_max"]),
                r_obs=decode_float(verdict["r_obs"]),
                r_exp=decode_float(verdict["r_exp"]),
                reason=str(verdict["reason"]),
                num_undefined=int(verdict["num_undefined"]),
            ),
            combination=tuple(member_from_json(member) for member in document["combination"]),
            failures={str(name): int(count) for name, count in document["failures"].items()},
            num_predictions=int(document["num_predictions"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFormatError(f"Stored evaluation: {type(error).__name__} {error}.") from error
