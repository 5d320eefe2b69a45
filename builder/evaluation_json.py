"""Evaluations as plain values, and as JSON objects that keep every float.

Walk: evaluation ──▶ **evaluation json** ──▶ checkpoints, hiscores, reports. `evaluation_fields` is the one place that says what of
an evaluation leaves the program, and under which names: nested dicts and lists of texts and numbers, inf and nan among them. In
JSON finite floats are exact because the text carries their shortest representation; inf and nan, which JSON lacks, travel as the
strings "inf", "-inf" and "nan".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from builder.evaluation import Evaluation, Member, PriorTerms
from critics.verdict import Constraint, Finding, Verdict
from database.errors import ModelFormatError
from inference.types import Outcome

Fields = dict[str, Any]
"""Nested dicts and lists of texts, integers, truth values and floats (inf and nan included)."""


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


def member_fields(member: Member) -> Fields:
    """Return a member of a combination as plain values."""
    return asdict(member) | {"txnames": list(member.txnames), "pids": list(member.pids)}


def verdict_fields(verdict: Verdict) -> Fields:
    """Return a verdict as plain values; undefined ones by analysis."""
    return {
        "is_excluded": bool(verdict.is_excluded),
        "mu_max": float(verdict.mu_max),
        "r_obs": float(verdict.r_obs),
        "r_exp": float(verdict.r_exp),
        "reason": verdict.reason,
        "num_undefined": int(verdict.num_undefined),
        "undefined": dict(verdict.undefined),
        "constraints": [c._asdict() | {"analysis_ids": list(c.analysis_ids), "txnames": list(c.txnames)} for c in verdict.constraints],
        "findings": [finding._asdict() for finding in verdict.findings],
    }


def evaluation_fields(evaluation: Evaluation) -> Fields:
    """Return an evaluation as plain values."""
    return {
        "outcome": str(evaluation.outcome),
        "k": float(evaluation.k),
        "tl": float(evaluation.tl),
        "mu_hat": float(evaluation.mu_hat),
        "mu_max": float(evaluation.mu_max),
        "log_prior": float(evaluation.log_prior),
        "prior_terms": {
            "num_particles": evaluation.prior_terms.num_particles,
            "num_branching_ratios": evaluation.prior_terms.num_branching_ratios,
            "num_ssms": float(evaluation.prior_terms.num_ssms),
            "penalties": {name: float(value) for name, value in evaluation.prior_terms.penalties.items()},
        },
        "verdict": verdict_fields(evaluation.verdict),
        "combination": [member_fields(member) for member in evaluation.combination],
        "failures": {str(name): int(count) for name, count in evaluation.failures.items()},
        "num_predictions": int(evaluation.num_predictions),
    }


def evaluation_to_json(evaluation: Evaluation) -> Fields:
    """Return an evaluation as a JSON object."""
    encoded: Fields = _encode(evaluation_fields(evaluation))
    return encoded


def _encode(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _encode(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    return encode_float(value) if isinstance(value, float) else value


def member_from_fields(document: Mapping[str, Any]) -> Member:
    """Return the member of plain values or of a JSON object."""
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


def verdict_from_fields(document: Mapping[str, Any]) -> Verdict:
    """Return the verdict of plain values or of a JSON object; what earlier releases did not store is empty."""
    return Verdict(
        is_excluded=bool(document["is_excluded"]),
        mu_max=decode_float(document["mu_max"]),
        r_obs=decode_float(document["r_obs"]),
        r_exp=decode_float(document["r_exp"]),
        reason=str(document["reason"]),
        num_undefined=int(document["num_undefined"]),
        undefined=tuple(sorted((str(name), int(count)) for name, count in document.get("undefined", {}).items())),
        constraints=tuple(
            Constraint(
                critic=str(entry["critic"]),
                analysis_ids=tuple(str(name) for name in entry["analysis_ids"]),
                kind=str(entry["kind"]),
                dataset_id=None if entry["dataset_id"] is None else str(entry["dataset_id"]),
                txnames=tuple(str(name) for name in entry["txnames"]),
                r_obs=decode_float(entry["r_obs"]),
                r_exp=decode_float(entry["r_exp"]),
            )
            for entry in document.get("constraints", ())
        ),
        findings=tuple(
            Finding(str(entry["critic"]), bool(entry["is_excluded"]), decode_float(entry["mu_max"]), str(entry["reason"]))
            for entry in document.get("findings", ())
        ),
    )


def evaluation_from_json(document: Mapping[str, Any]) -> Evaluation:
    """Return the evaluation of a JSON object, or of plain values.

    Raises:
        ModelFormatError: a field is missing or not valid.
    """
    try:
        terms = document["prior_terms"]
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
                penalties={str(name): decode_float(value) for name, value in terms.get("penalties", {}).items()},
            ),
            verdict=verdict_from_fields(document["verdict"]),
            combination=tuple(member_from_fields(member) for member in document["combination"]),
            failures={str(name): int(count) for name, count in document["failures"].items()},
            num_predictions=int(document["num_predictions"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFormatError(f"Stored evaluation: {type(error).__name__} {error}.") from error
