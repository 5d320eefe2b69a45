"""Simplified likelihood of an analysis: Poisson counts with correlated background shifts.

First order (SLv1; CMS NOTE-2017/001): λ_i = μ s_i + b_i + θ_i, θ ~ N(0, V) with the published covariance V. Second order
(SLv2, with third moments m3; Buckley, Citron, Fichet, Kraml, Waltenberger, Wardle, arXiv:1809.05548):
λ_i = μ s_i + A_i + θ_i + C_i θ_i²/B_i², θ_i = B_i times a unit normal, correlations ρ:

    C = k cos(4π/3 + arctan(√(8 m2³/m3² - 1))/3), k = -sign(m3) √(2 m2),   B = √(m2 - 2C²),   A = b - C,
    ρ_ij = 2 V_ij / [√((B_i B_j)² + 8 C_i C_j V_ij) + B_i B_j]      (form without cancellation)

    -ln L = ½ θᵀV⁻¹θ + ½ ln det 2πV + Σ [λ - n ln λ + ln Γ(n+1)]

is minimised over θ within bounds by Newton's method in units of standard deviations, so that only the correlation
matrix is ever inverted: each step minimises the exact quadratic model within the bounds, then backtracks if needed.
Every fit starts at the background-only fit of the analysis, which does not depend on the signal and is made once.
Bounds: by default no background may become negative (SLv1: θ >= -b); `smodels`: |θ| <= 10 n as in SModelS
3.0.3. Without convergence the outcome is FIT_FAILED, and the numbers are nan.
"""

from __future__ import annotations

import math
from copy import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from inference.likelihoods.newton import fit_nuisances
from inference.likelihoods.protocol import LogRatio
from inference.settings import Conventions
from inference.types import DataKind, FloatArray, Outcome

MIN_EIGENVALUE = 1e-9
"""Eigenvalues of the correlation matrix below this are lifted to it (reported by `CovarianceModel.is_floored`)."""

_SMODELS_THETA_RANGE = 10.0
_MU_ITERATIONS = 60
_SMALLEST_GAIN = 1e-14
"""μ̂ is found where the next step would change ln L by less than this."""
_ROUNDING = 1e-13
"""Expected events below this, relative to 1 + b, are 0."""


class SecondOrderTerms(NamedTuple):
    """A, B, C of the second-order likelihood per bin, and the covariance of θ."""

    A: FloatArray
    B: FloatArray
    C: FloatArray
    covariance: FloatArray


def second_order_terms(background: FloatArray, covariance: FloatArray, third_moment: FloatArray) -> SecondOrderTerms:
    """Coefficients of SLv2 from the first three moments of the background (arXiv:1809.05548).

    Args:
        background: expected background b [events].
        covariance: its covariance [events²].
        third_moment: its third central moments [events³]; 0 counts as 1e-30.

    Returns:
        The terms; nan where 8 m2³ < m3², i.e. where no such distribution exists.
    """
    m2 = np.diag(covariance)
    m3 = np.where(third_moment == 0.0, 1e-30, third_moment)
    with np.errstate(invalid="ignore"):
        angle = 4.0 * math.pi / 3.0 + np.arctan(np.sqrt(8.0 * m2**3 / m3**2 - 1.0)) / 3.0
        C = -np.sign(m3) * np.sqrt(2.0 * m2) * np.cos(angle)
        B = np.sqrt(m2 - 2.0 * C**2)
        BB, CC = np.outer(B, B), np.outer(C, C)
        rho = 2.0 * covariance / (np.sqrt(BB**2 + 8.0 * CC * covariance) + BB)
    return SecondOrderTerms(background - C, B, C, BB * rho)


class CovarianceFit(NamedTuple):
    """Profiled likelihood at one μ.

    Attributes:
        nll: -ln L with all constants; nan if the fit failed.
        slope: its first derivative in μ.
        curvature: its second derivative in μ.
        pulls: fitted nuisances θ/sd, shape (num_bins,).
        num_iterations: Newton iterations.
        outcome: OK or FIT_FAILED.
    """

    nll: float
    slope: float
    curvature: float
    pulls: FloatArray
    num_iterations: int
    outcome: Outcome


class BinData(NamedTuple):
    """Event counts with what the fit derives from them.

    Attributes:
        counts: events per bin, shape (num_bins,).
        lower: lower bounds of θ/sd.
        upper: upper bounds of θ/sd.
        log_factorials: Σ ln Γ(n+1).
    """

    counts: FloatArray
    lower: FloatArray
    upper: FloatArray
    log_factorials: float


class CovarianceModel:
    """Background model of one analysis: everything that does not depend on the signal.

    Args:
        observed: observed events, shape (num_bins,).
        background: expected background [events], shape (num_bins,).
        covariance: covariance of the background [events²], shape (num_bins, num_bins).
        third_moment: third central moments [events³] for SLv2, None for SLv1.
        conventions: default or smodels bounds, see the module.

    Attributes:
        num_bins: number of signal regions.
        min_eigenvalue: smallest eigenvalue of the correlation matrix.
        is_floored: whether eigenvalues had to be lifted to MIN_EIGENVALUE.
        is_concave: True for SLv1, whose profiled ln L(μ) is concave.
    """

    def __init__(
        self,
        observed: ArrayLike,
        background: ArrayLike,
        covariance: ArrayLike,
        third_moment: ArrayLike | None = None,
        conventions: Conventions = Conventions.DEFAULT,
    ) -> None:
        self.observed = np.array(observed, dtype=np.float64)
        self.background = np.array(background, dtype=np.float64)
        self.conventions = conventions
        self.num_bins = len(self.observed)
        matrix = np.array(covariance, dtype=np.float64).reshape(self.num_bins, self.num_bins)
        matrix = 0.5 * (matrix + matrix.T)
        self.offset = self.background
        quadratic = np.zeros(self.num_bins)
        self.is_concave = third_moment is None
        if third_moment is not None:
            terms = second_order_terms(self.background, matrix, np.asarray(third_moment, dtype=np.float64))
            self.offset, matrix, quadratic = terms.A, terms.covariance, terms.C / terms.B**2
        self.sd = np.sqrt(np.diag(matrix))
        self.is_finite = bool(np.isfinite(matrix).all() and np.isfinite(quadratic).all() and (self.sd > 0.0).all())
        if not self.is_finite:
            matrix, self.sd, quadratic = np.eye(self.num_bins), np.ones(self.num_bins), np.zeros(self.num_bins)
        eigenvalues, vectors = np.linalg.eigh(matrix / np.outer(self.sd, self.sd))
        self.min_eigenvalue = float(eigenvalues[0])
        self.is_floored = self.min_eigenvalue < MIN_EIGENVALUE
        eigenvalues = np.maximum(eigenvalues, MIN_EIGENVALUE)
        precision = (vectors / eigenvalues) @ vectors.T
        self.precision = np.ascontiguousarray(0.5 * (precision + precision.T))
        self.bend = quadratic * self.sd**2
        self.log_norm = 0.5 * self.num_bins * math.log(2.0 * math.pi)
        self.log_norm += float(np.log(self.sd).sum() + 0.5 * np.log(eigenvalues).sum())
        self._no_signal = np.zeros(self.num_bins)
        self._unshifted, self._centre = self, np.zeros(self.num_bins)
        self._data: dict[DataKind, BinData] = {}
        self._background_fits: dict[DataKind, CovarianceFit] = {}

    @property
    def num_regions(self) -> int:
        """Number of regions: one per bin."""
        return self.num_bins

    def likelihood(self, yields: FloatArray, data_kind: DataKind = DataKind.OBSERVED) -> CovarianceLikelihood:
        """Likelihood of a signal with these expected events at μ = 1, shape (num_bins,)."""
        return CovarianceLikelihood(self, yields, data_kind)

    def prepare(self, counts: FloatArray) -> BinData:
        """Bounds and constants for any event counts, shape (num_bins,)."""
        lower, upper = self.bounds(counts)
        sd, centre = self._unshifted.sd, self._centre
        return BinData(counts, lower / sd - centre, upper / sd - centre, sum(math.lgamma(n + 1.0) for n in counts.tolist()))

    def bounds(self, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Bounds of θ [events] per bin, shape (num_bins,) each."""
        if self.conventions.has(Conventions.COVARIANCE_NUISANCES):
            return -_SMODELS_THETA_RANGE * counts, _SMODELS_THETA_RANGE * counts
        offset = self._unshifted.offset
        quadratic = self.bend / self._unshifted.sd**2
        discriminant = 1.0 - 4.0 * offset * quadratic
        root = np.sqrt(np.maximum(discriminant, 0.0))
        lower = np.where(discriminant >= 0.0, -2.0 * offset / (1.0 + root), -np.inf)
        upper = np.full(self.num_bins, np.inf)
        is_bent_down = quadratic < 0.0
        upper[is_bent_down] = -(1.0 + root[is_bent_down]) / (2.0 * quadratic[is_bent_down])
        return lower, upper

    def data(self, data_kind: DataKind) -> BinData:
        """Event counts: observed, expected background (a priori), or the background-only fit (a posteriori)."""
        data = self._data.get(data_kind)
        if data is None:
            counts = self.observed
            if data_kind is DataKind.APRIORI:
                counts = self.background
            elif data_kind is DataKind.APOSTERIORI:
                counts = self.asimov_counts(DataKind.OBSERVED)
            data = self._data[data_kind] = self.prepare(counts)
        return data

    def background_fit(self, data_kind: DataKind) -> CovarianceFit:
        """The fit at μ = 0, made once."""
        fit = self._background_fits.get(data_kind)
        if fit is None:
            start = np.zeros(self.num_bins)
            fit = self._background_fits[data_kind] = self.fit(0.0, self._no_signal, self.data(data_kind), start)
        return fit

    def shifted(self, pulls: FloatArray) -> CovarianceModel:
        """The model whose nuisances are centred at these pulls θ/sd, shape (num_bins,): auxiliary data that came out there.

        Its a priori data are the expected counts at that centre; everything else is the same.
        """
        moved = copy(self)
        moved.offset = self.offset + (self.sd + self.bend * pulls) * pulls
        moved.sd = self.sd + 2.0 * self.bend * pulls
        moved._centre = self._centre + pulls
        moved.background = np.maximum(moved.offset, 0.0)
        moved._data, moved._background_fits = {}, {}
        return moved

    def fit(self, mu: float, signal: FloatArray, data: BinData, start: FloatArray) -> CovarianceFit:
        """Profile the nuisances at μ for any data.

        Args:
            mu: signal strength.
            signal: expected signal at μ = 1 [events], shape (num_bins,).
            data: event counts.
            start: where θ/sd starts, shape (num_bins,).
        """
        x = np.empty(self.num_bins)
        lower = data.lower if mu >= 0.0 else self._raised_bounds(data, self.offset + mu * signal)
        has_converged, value, slope, curvature, iterations = fit_nuisances(
            float(mu), data.counts, self.offset, signal, self.precision, self.sd, self.bend, lower, data.upper, start, x
        )
        if not (has_converged and self.is_finite and math.isfinite(value)):
            nan = math.nan
            return CovarianceFit(nan, nan, nan, np.full(self.num_bins, nan), int(iterations), Outcome.FIT_FAILED)
        nll = float(value) + self.log_norm + data.log_factorials
        if mu < 0.0:  # bounds that move with μ take part in the slope
            tilt = self.sd + 2.0 * self.bend * x
            is_held = (lower > data.lower) & (x <= lower)
            slope -= float(np.sum(((self.precision @ x + tilt) * signal / tilt)[is_held]))
        return CovarianceFit(nll, float(slope), float(curvature), x, int(iterations), Outcome.OK)

    def _raised_bounds(self, data: BinData, centre: FloatArray) -> FloatArray:
        """Lower bounds of θ/sd for a negative signal: where nothing was observed, signal and background together stay >= 0."""
        discriminant = self.sd**2 - 4.0 * self.bend * centre
        needed = -2.0 * centre / (self.sd + np.sqrt(np.maximum(discriminant, 0.0)))
        is_raised = (data.counts == 0.0) & (discriminant >= 0.0)
        return np.where(is_raised, np.maximum(data.lower, needed), data.lower)

    def expected_counts(self, pulls: FloatArray) -> FloatArray:
        """Expected background [events] at given pulls θ/sd, shape (num_bins,); what rounding leaves of a background at its bound is 0."""
        counts = self.offset + (self.sd + self.bend * pulls) * pulls
        return np.where(counts <= _ROUNDING * (1.0 + np.abs(self.offset)), 0.0, counts)

    def asimov_counts(self, data_kind: DataKind) -> FloatArray:
        """Expected counts of the background-only fit to the data: b + θ̂(0) for SLv1 [events]; nan if it failed."""
        return self.expected_counts(self.background_fit(data_kind).pulls)


class CovarianceLikelihood:
    """Likelihood of one signal hypothesis in a covariance model.

    Args:
        model: background model of the analysis.
        signal: expected signal at μ = 1 [events], shape (num_bins,).
        data_kind: observed, a priori (data := expected background), or a posteriori (data := background-only fit).
        counts: any other event counts instead, shape (num_bins,), e.g. pseudo-data.
        start: θ/sd where the background-only fit to these counts starts, shape (num_bins,); 0 by default.

    Attributes:
        has_own_counts: whether the data are such counts.
        data: the event counts that enter.
        background_fit: the fit at μ = 0.
    """

    def __init__(
        self,
        model: CovarianceModel,
        signal: ArrayLike,
        data_kind: DataKind = DataKind.OBSERVED,
        counts: FloatArray | None = None,
        start: FloatArray | None = None,
    ) -> None:
        self.model = model
        self.signal = np.ascontiguousarray(signal, dtype=np.float64)
        self.data_kind = data_kind
        self.has_own_counts = counts is not None
        if counts is None:
            self.data, self.background_fit = model.data(data_kind), model.background_fit(data_kind)
        else:
            self.data = model.prepare(counts)
            self.background_fit = model.fit(0.0, self.signal, self.data, np.zeros(model.num_bins) if start is None else start)
        self._last: tuple[float, CovarianceFit] | None = None

    @property
    def outcome(self) -> Outcome:
        """FIT_FAILED if not even the background-only fit converges."""
        return self.background_fit.outcome

    @property
    def is_concave(self) -> bool:
        """True for first-order models."""
        return self.model.is_concave

    def fit(self, mu: float) -> CovarianceFit:
        """Profiled likelihood at μ; always started from the background-only fit."""
        if self._last is None or self._last[0] != mu:
            self._last = (mu, self.model.fit(mu, self.signal, self.data, self.background_fit.pulls))
        return self._last[1]

    def asimov(self) -> CovarianceLikelihood:
        """The same signal with the background-only fit to this likelihood's data as data, nuisances centred at 0."""
        pulls = self.background_fit.pulls
        return CovarianceLikelihood(self.model, self.signal, self.data_kind, self.model.expected_counts(pulls), pulls)

    def asimov_with(self, is_moved: bool) -> CovarianceLikelihood:
        """The same, with the nuisances centred where the fit puts them (moved), or at 0."""
        if not is_moved:
            return self.asimov()
        pulls = self.background_fit.pulls
        return CovarianceLikelihood(self.model.shifted(pulls), self.signal, counts=self.model.expected_counts(pulls))

    @property
    def mu_min(self) -> float:
        """Smallest signal strength without a negative expectation at the central background."""
        has_signal = self.signal > 0.0
        return -float(np.min(self.model.background[has_signal] / self.signal[has_signal], initial=math.inf)) if has_signal.any() else 0.0

    def nll(self, mu: float) -> float:
        """-ln L(μ) with all constants; nan if the fit failed."""
        return self.fit(mu).nll

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope; nan if the fit failed."""
        fit = self.fit(mu)
        return LogRatio(self.background_fit.nll - fit.nll, -fit.slope)

    @property
    def minimum_at_zero(self) -> float:
        """-ln L(0) without the constants of `model.fit`."""
        return self.background_fit.nll - self.model.log_norm - self.data.log_factorials

    def signal_slopes(self, mu: float) -> FloatArray:
        """∂ ln L(μ)/∂s = -μ (1 - n/λ) per bin, shape (num_bins,); nan if the fit failed."""
        pulls, model = self.fit(mu).pulls, self.model
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = model.offset + mu * self.signal + (model.sd + model.bend * pulls) * pulls
            slopes: FloatArray = np.where(self.data.counts > 0.0, 1.0 - self.data.counts / mean, 1.0)
        return -mu * slopes

    @cached_property
    def mu_hat(self) -> float:
        """Best μ >= 0 by safeguarded Newton on the slope; nan if a fit fails."""
        low, high = 0.0, math.inf
        fit = self.fit(0.0)
        mu = 0.0
        for _ in range(_MU_ITERATIONS):
            if fit.outcome is not Outcome.OK:
                return math.nan
            if mu == 0.0 and fit.slope >= 0.0:
                return 0.0
            if fit.slope >= 0.0:
                high = mu
            else:
                low = mu
            step = -fit.slope / fit.curvature if fit.curvature > 0.0 else math.inf
            if fit.curvature > 0.0 and fit.slope * fit.slope < _SMALLEST_GAIN * fit.curvature:
                return mu
            target = mu + step
            if not low < target < high:
                target = 0.5 * (low + high) if high < math.inf else max(1.0, 4.0 * low)
            if abs(target - mu) <= 1e-12 * max(abs(target), 1e-12):
                return target
            mu = target
            fit = self.fit(mu)
        return math.nan

    @cached_property
    def sigma_mu(self) -> float:
        """1/√(d²(-ln L)/dμ²) at μ̂; inf for a flat likelihood."""
        fit = self.fit(self.mu_hat)
        return 1.0 / math.sqrt(fit.curvature) if fit.curvature > 0.0 else math.inf
