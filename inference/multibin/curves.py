"""Likelihood curves of analyses and of their product, as tables: ln L(μ)/L(0) at common signal strengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from inference.likelihoods.product import ProductLikelihood
from inference.likelihoods.protocol import Likelihood
from inference.multibin.results import number_or_none

FORMAT = "protomodels-likelihood-curves"
VERSION = 1
NUM_POINTS = 161
_DEPTH = 4.5
"""The range ends where the product has fallen by this much below its maximum: three standard deviations."""
_MAX_DOUBLINGS = 40


class NamedLikelihood(NamedTuple):
    """A member of a combination.

    Attributes:
        analysis: its name.
        region: signal region, or what else tells it apart; "" for a whole analysis.
        likelihood: its curve.
    """

    analysis: str
    region: str
    likelihood: Likelihood


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CurveRecord(_Record):
    """One curve."""

    analysis: str = Field(description="name of the analysis; combination for the product")
    region: str = Field(description="signal region, or empty")
    mu_hat: float | None = Field(description="where it is largest, within the allowed strengths")
    log_ratio: tuple[float | None, ...] = Field(description="ln L(μ)/L(0) at each μ; null where a fit failed")
    log_ratio_at_best: float | None = Field(description="ln L(μ̂)/L(0) at the μ̂ of the combination")


class CurvesFile(_Record):
    """Curves of a combination."""

    format: Literal["protomodels-likelihood-curves"]
    version: Literal[1]
    title: str = Field(description="what they are of")
    mu: tuple[float, ...] = Field(description="signal strengths")
    mu_hat: float | None = Field(description="best μ of the combination")
    mu_max: float | None = Field(description="largest μ that critics allow; null if there is none")
    tl: float | None = Field(description="2 ln L(μ̂)/L(0) of the combination")
    members: tuple[CurveRecord, ...] = Field(description="one per analysis")
    combined: CurveRecord = Field(description="their product")


def tabulate_curves(members: Sequence[NamedLikelihood], title: str, mu_max: float = math.inf, mu_hat: float | None = None) -> CurvesFile:
    """Curves of likelihoods and of their product.

    Args:
        members: at least one.
        title: what they are of.
        mu_max: largest allowed strength.
        mu_hat: best strength of the combination; by default that of the product, at most mu_max.
    """
    product = ProductLikelihood([member.likelihood for member in members])
    if mu_hat is None:
        mu_hat = min(product.mu_hat, mu_max)
    grid = np.linspace(0.0, _find_end(product, mu_hat), NUM_POINTS).tolist()
    records = [_record(member.analysis, member.region, member.likelihood, grid, mu_hat, mu_max) for member in members]
    combined = _record("combination", "", product, grid, mu_hat, mu_max)
    best = combined.log_ratio_at_best
    return CurvesFile(
        format=FORMAT,
        version=VERSION,
        title=title,
        mu=tuple(grid),
        mu_hat=number_or_none(mu_hat),
        mu_max=number_or_none(mu_max),
        tl=None if best is None else 2.0 * best,
        members=tuple(records),
        combined=combined,
    )


def _find_end(product: ProductLikelihood, mu_hat: float) -> float:
    """The strength at which the product has fallen well below its maximum."""
    best = product.log_ratio(mu_hat).value if math.isfinite(mu_hat) else 0.0
    sigma = product.sigma_mu
    step = sigma if math.isfinite(sigma) and sigma > 0.0 else 1.0
    end = (mu_hat if math.isfinite(mu_hat) else 0.0) + 2.0 * step
    for _ in range(_MAX_DOUBLINGS):
        value = product.log_ratio(end).value
        if not value > best - _DEPTH:
            break
        end += step
        step *= 1.2
    return end


def _record(analysis: str, region: str, likelihood: Likelihood, grid: Sequence[float], mu_hat: float, mu_max: float) -> CurveRecord:
    own = likelihood.mu_hat
    return CurveRecord(
        analysis=analysis,
        region=region,
        mu_hat=number_or_none(min(own, mu_max)),
        log_ratio=tuple(number_or_none(likelihood.log_ratio(mu).value) for mu in grid),
        log_ratio_at_best=number_or_none(likelihood.log_ratio(mu_hat).value) if math.isfinite(mu_hat) else None,
    )
