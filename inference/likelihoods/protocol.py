"""What every likelihood offers to the combination: one curve ln L(μ)/L(0) with its slope.

Walk: predictions ──▶ **likelihoods** ──▶ combination ──▶ score. A likelihood belongs to one prediction (one signal
region, one published pair of limits, or one analysis with its own statistical model) and knows nothing of the others.
Nuisance parameters are profiled; because of the envelope theorem the slope of the profiled curve is the partial
derivative at the fitted nuisances, so no automatic differentiation is needed anywhere.

To add a likelihood: write a class with these members in a file of its own, and let `tests/contract/test_likelihoods.py`
run over it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from inference.types import Outcome


class LogRatio(NamedTuple):
    """Value and slope of one curve at one signal strength.

    Attributes:
        value: ln L(μ)/L(0), profiled at both ends; nan if the fit failed.
        slope: d/dμ of the value; nan if the fit failed.
    """

    value: float
    slope: float


@runtime_checkable
class Likelihood(Protocol):
    """Likelihood of one prediction as a function of the signal strength μ >= 0."""

    @property
    def outcome(self) -> Outcome:
        """OK, or why this likelihood yields no number (FIT_FAILED, NON_FINITE)."""

    @property
    def is_concave(self) -> bool:
        """Whether ln L(μ) is known to be concave, so that tangents bound it from above."""

    @property
    def mu_hat(self) -> float:
        """Signal strength >= 0 that maximises the likelihood (0 where it falls from the start)."""

    @property
    def sigma_mu(self) -> float:
        """Uncertainty of μ from the curvature at the maximum; inf for a flat likelihood."""

    def nll(self, mu: float) -> float:
        """-ln L(μ) with all constants, profiled over the nuisances."""

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope."""
