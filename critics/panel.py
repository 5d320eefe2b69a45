"""The critics' joint verdict on the predictions of one model.

Walk: predictions ──▶ **critics** ──▶ μ_max and veto ──▶ score. Critics run in the order of their cost and stop at the first
veto; caps of the signal strength combine to the smallest one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from critics.likelihood import LikelihoodContext, judge_by_likelihood
from critics.settings import CriticName, CriticSettings
from critics.upper_limit import judge_by_counting, judge_by_mu_max
from critics.verdict import Finding, Verdict, describe_undefined, merge_undefined
from inference.lazy import Lazy
from inference.types import Predictions

if TYPE_CHECKING:
    from database.results.store import ResultsStore

__all__ = ["COSTLY", "CriticName", "CriticSettings", "LikelihoodContext", "judge"]

COSTLY: frozenset[CriticName] = frozenset({CriticName.LIKELIHOOD_V2})
"""Critics that fit likelihoods. They only veto, so a walk asks them when everything else would accept the model."""


def judge(
    predictions: Predictions,
    store: ResultsStore,
    settings: CriticSettings,
    context: LikelihoodContext | None = None,
    *,
    skips_costly: bool = False,
) -> Verdict:
    """Verdict of the selected critics, asked in the order of their cost (that of `CriticName`).

    Args:
        predictions: what the results predict for the model at μ = 1.
        store: the results.
        settings: who judges, and their thresholds.
        context: which results may be combined, and whose likelihoods; likelihood_v2 needs it.
        skips_costly: whether critics that fit likelihoods are left out, to be asked later.

    Returns:
        The first veto; else the verdict with the smallest μ_max, at equal ones that with the largest r, whose reason lists what
        every critic said; μ_max is the smallest cap in either case. Without critics nothing is constrained. `findings` has what each
        of them said, `constraints` what each compared with, largest r first; `num_undefined` is the largest number that a critic
        reports.

    Raises:
        ValueError: likelihood_v2 is asked without a context.
    """
    said: list[Verdict] = []
    findings: list[Finding] = []
    for name in CriticName:
        if name not in settings.critics or (skips_costly and name in COSTLY):
            continue
        verdict = _ask(name, predictions, store, settings, context)
        said.append(verdict)
        findings.append(Finding(name.value, verdict.is_excluded, verdict.mu_max, verdict.reason))
        if verdict.is_excluded:
            break
    if not said:
        return Verdict(False, math.inf, math.nan, math.nan, "no critic is asked")
    undefined = merge_undefined(verdict.undefined for verdict in said)
    decisive = said[-1] if said[-1].is_excluded else min(said, key=lambda v: (v.mu_max, -v.r_obs if math.isfinite(v.r_obs) else math.inf))
    words = [decisive.reason] if decisive.is_excluded else [verdict.reason for verdict in said]
    if undefined:
        words.append(describe_undefined(undefined))
    return decisive._replace(
        mu_max=min(verdict.mu_max for verdict in said),
        reason="; ".join(words),
        num_undefined=max(verdict.num_undefined for verdict in said),
        undefined=undefined,
        constraints=Lazy(lambda: tuple(sorted((c for verdict in said for c in verdict.constraints), key=lambda c: -c.r_obs))),
        findings=tuple(findings),
    )


def _ask(
    name: CriticName,
    predictions: Predictions,
    store: ResultsStore,
    settings: CriticSettings,
    context: LikelihoodContext | None,
) -> Verdict:
    if name is CriticName.UPPER_LIMIT_V1:
        return judge_by_mu_max(predictions, store, settings)
    if name is CriticName.UPPER_LIMIT_V2:
        return judge_by_counting(predictions, store, settings)
    if context is None:
        raise ValueError("likelihood_v2 needs to know which results may be combined")
    return judge_by_likelihood(predictions, store, settings, context)
