"""What a critic says of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Constraint(NamedTuple):
    """One published result, or one combination of them, that a model was compared with.

    Attributes:
        critic: who compared, e.g. "upper_limit_v1".
        analysis_ids: the analysis; several for a combination.
        kind: "ul" (cross-section limit), "em" (one signal region) or "comb" (a combined likelihood).
        dataset_id: signal region; None for limits and combinations.
        txnames: simplified topologies that contribute.
        r_obs: predicted cross section over its observed 95 % CL limit; nan if undefined.
        r_exp: over its expected limit; nan where there is none.
    """

    critic: str
    analysis_ids: tuple[str, ...]
    kind: str
    dataset_id: str | None
    txnames: tuple[str, ...]
    r_obs: float
    r_exp: float


class Finding(NamedTuple):
    """What one critic of the panel said.

    Attributes:
        critic: its name.
        is_excluded: whether it vetoes the model.
        mu_max: largest signal strength it allows; inf where it does not cap.
        reason: one sentence: which analysis, which numbers.
    """

    critic: str
    is_excluded: bool
    mu_max: float
    reason: str


class Verdict(NamedTuple):
    """Judgement of one critic, or of the panel, on the predictions of one model.

    Attributes:
        is_excluded: whether the model is vetoed (log density -inf). The v1 critic never vetoes, it caps μ.
        mu_max: largest allowed signal strength; inf where nothing constrains the model.
        r_obs: largest observed σ/σ_UL among the predictions that count; nan where there is none.
        r_exp: expected σ/σ_UL of the same prediction; nan where not published.
        reason: one sentence: which critic, which analysis, which numbers.
        num_undefined: predictions whose r could not be computed; they neither exclude nor admit.
        undefined: how many of them per analysis, ordered by analysis.
        constraints: what the model was compared with, nearest (largest r_obs) first; at most `MAX_CONSTRAINTS` per critic.
        findings: what every critic that was asked said, in the order asked.
    """

    is_excluded: bool
    mu_max: float
    r_obs: float
    r_exp: float
    reason: str
    num_undefined: int = 0
    undefined: tuple[tuple[str, int], ...] = ()
    constraints: Sequence[Constraint] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def nearest(self) -> Constraint | None:
        """The constraint with the largest observed r, None where nothing constrains the model."""
        return self.constraints[0] if self.constraints else None


MAX_CONSTRAINTS = 3
"""Constraints a critic reports, nearest first."""


def count_undefined(analysis_ids: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Occurrences per analysis, ordered by analysis.

    Examples:
        >>> count_undefined(["CMS-SUS-19-006", "ATLAS-SUSY-2016-07", "CMS-SUS-19-006"])
        (('ATLAS-SUSY-2016-07', 1), ('CMS-SUS-19-006', 2))
    """
    counts: dict[str, int] = {}
    for name in analysis_ids:
        counts[name] = counts.get(name, 0) + 1
    return tuple(sorted(counts.items()))


def merge_undefined(several: Iterable[tuple[tuple[str, int], ...]]) -> tuple[tuple[str, int], ...]:
    """The largest count per analysis that any critic reports: critics look at the same predictions."""
    largest: dict[str, int] = {}
    for counts in several:
        for name, count in counts:
            largest[name] = max(largest.get(name, 0), count)
    return tuple(sorted(largest.items()))


def describe_undefined(undefined: Mapping[str, int] | Iterable[tuple[str, int]]) -> str:
    """Words for the undefined ones, "" where there are none.

    Examples:
        >>> describe_undefined([("CMS-SUS-19-006", 2)])
        'r undefined, not judged: CMS-SUS-19-006 (2)'
    """
    items = sorted(dict(undefined).items())
    return "r undefined, not judged: " + ", ".join(f"{name} ({count})" for name, count in items) if items else ""
