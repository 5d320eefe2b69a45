"""Priors on the complexity of a model, by name.

With n_p particles (the lightest included), n_BR branching ratios and n_SSM classes of signal strength multipliers, counted as in
`builder.prior_terms`:

    flat    ln π = 0
    expo1   ln π = -(n_p/a1 + n_BR/a2 + n_SSM/a3), a = 2, 4, 8            (the choice of arXiv:2012.12246)
    expo2   the same with a = 3, 11.04, 17.1
    gauss1  ln π = -½ [(n_p/2)² + (n_BR/8)² + (n_SSM/32)²]

and, from information criteria, with every free parameter counted once, k = n_p + n_BR + n_SSM:

    aic     ln π = -k                 so that -K = AIC = 2k - 2 ln L up to a constant (Akaike, DOI 10.1109/TAC.1974.1100705)
    bic     ln π = -½ k ln n          likewise BIC = k ln n - 2 ln L (Schwarz, DOI 10.1214/aos/1176344136), n observations in the
                                      combination: one per signal region or pair of limits

expo1 is AIC with parameters that count ½, ¼ and ⅛ of one, because many of them change little of what is observed. bic depends on
the data through n and is therefore a score for `optimise`, not a prior to sample from.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Protocol


class PriorName(StrEnum):
    """Named priors; see the module."""

    FLAT = "flat"
    EXPO1 = "expo1"
    EXPO2 = "expo2"
    GAUSS1 = "gauss1"
    AIC = "aic"
    BIC = "bic"


class ComplexityTerms(Protocol):
    """Counts that enter the prior (`builder.evaluation.PriorTerms`)."""

    @property
    def num_particles(self) -> int: ...
    @property
    def num_branching_ratios(self) -> int: ...
    @property
    def num_ssms(self) -> float: ...


class PriorSettings(Protocol):
    """Which prior, and its scales (`inference.score.ScoreSettings`)."""

    @property
    def prior(self) -> PriorName: ...
    @property
    def prior_a1(self) -> float: ...
    @property
    def prior_a2(self) -> float: ...
    @property
    def prior_a3(self) -> float: ...


def log_prior(terms: ComplexityTerms, settings: PriorSettings, num_data: int | None = None) -> float:
    """ln π of a model; see the module for the priors.

    Args:
        terms: counts.
        settings: which prior.
        num_data: observations that the score is made of; only bic needs it, and takes at least 1.

    Raises:
        ValueError: bic without a number of observations.

    Examples:
        The best model of arXiv:2012.12246: 3 particles, no branching ratios, 2 classes of multipliers and 3 repeats.

        >>> from types import SimpleNamespace
        >>> from inference.score import ScoreSettings
        >>> winner = SimpleNamespace(num_particles=3, num_branching_ratios=0, num_ssms=2.3)
        >>> 2 * log_prior(winner, ScoreSettings())
        -3.575
        >>> 2 * log_prior(winner, ScoreSettings(prior="aic")), round(2 * log_prior(winner, ScoreSettings(prior="bic"), num_data=5), 3)
        (-10.6, -8.53)
    """
    n_p, n_br, n_ssm = terms.num_particles, terms.num_branching_ratios, terms.num_ssms
    prior = settings.prior
    if prior is PriorName.FLAT:
        return 0.0
    if prior is PriorName.GAUSS1:
        return -0.5 * ((n_p / 2.0) ** 2 + (n_br / 8.0) ** 2 + (n_ssm / 32.0) ** 2)
    if prior is PriorName.BIC:
        if num_data is None:
            raise ValueError("the prior bic needs the number of observations: it is no prior that could be known before the data")
        return -0.5 * (n_p + n_br + n_ssm) * math.log(max(1, num_data))
    scales = (3.0, 11.04, 17.1)
    if prior is PriorName.AIC:
        scales = (1.0, 1.0, 1.0)
    if prior is PriorName.EXPO1:
        scales = (settings.prior_a1, settings.prior_a2, settings.prior_a3)
    return -(n_p / scales[0] + n_br / scales[1] + n_ssm / scales[2])
