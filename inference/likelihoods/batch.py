"""Many likelihood curves as arrays, evaluated at one signal strength by one compiled call.

The combination asks for all curves at the same μ. Single regions, truncated Gaussians and covariance models are packed into
flat arrays that compiled code reads; every other likelihood is asked one by one. At μ = 0 a covariance model needs no fit:
its background fit is known.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from inference.likelihoods.covariance import CovarianceLikelihood
from inference.likelihoods.newton import fit_nuisances
from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.single_region import SingleRegionLikelihood, profile_region
from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood
from inference.settings import Conventions
from inference.types import FloatArray, IntArray, Outcome

REGION, SMODELS_REGION, GAUSSIAN, COVARIANCE, OTHER = range(5)
"""Kinds of curves."""

_LARGEST_STEP = 2.0
"""Standard deviations that a nuisance may be away from its background fit where a fit starts."""


class CovariancePack(NamedTuple):
    """Background models with covariances and their data, one behind the other.

    Attributes:
        start: first bin of each model, shape (num_models + 1,).
        matrix_start: first element of each precision matrix, shape (num_models + 1,).
        observed, offset, sd, bend, lower, upper: per bin, see `inference.likelihoods.newton.fit_nuisances`.
        pulls: background fit per bin.
        residual: 1 - n/λ at the background fit per bin; 1 where nothing was observed.
        push: how a signal of one event pulls at the nuisance of its bin, -∂²(-ln L)/∂x∂s at the background fit.
        precision: elements of all precision matrices.
        response: likewise of the inverse Hessians in the nuisances at the background fit; 0 for those at a bound.
        at_zero: minimum of the background fit without constants, per model.
    """

    start: IntArray
    matrix_start: IntArray
    observed: FloatArray
    offset: FloatArray
    sd: FloatArray
    bend: FloatArray
    lower: FloatArray
    upper: FloatArray
    pulls: FloatArray
    residual: FloatArray
    push: FloatArray
    precision: FloatArray
    response: FloatArray
    at_zero: FloatArray


class Curves(NamedTuple):
    """Likelihood curves as arrays.

    Attributes:
        kind: one of the kinds above, shape (num_curves,).
        parameters: regions: n, b, δ, s [events]; Gaussians: centre, 1/σ²; shape (num_curves, 4).
        at_zero: -ln L(0) of regions, shape (num_curves,).
        is_bent: whether a curve is not known to be concave.
        part: model of each covariance curve in the pack; -1 for others.
        signal: expected signal per bin of the pack [events].
        pack: the covariance models.
    """

    kind: NDArray[np.int8]
    parameters: FloatArray
    at_zero: FloatArray
    is_bent: NDArray[np.bool_]
    part: IntArray
    signal: FloatArray
    pack: CovariancePack


@njit(cache=True)
def _covariance_curve(mu: float, model: int, signal: FloatArray, pack: CovariancePack) -> tuple[float, float]:
    """ln L(μ)/L(0) and slope of a covariance model; nan if the fit does not converge."""
    first, last = pack.start[model], pack.start[model + 1]
    s = signal[first:last]
    if mu == 0.0:
        slope = 0.0
        for i in range(last - first):
            slope -= s[i] * pack.residual[first + i]
        return 0.0, slope
    size = last - first
    matrix = pack.matrix_start[model]
    precision = pack.precision[matrix : matrix + size * size].reshape(size, size)
    response = pack.response[matrix : matrix + size * size].reshape(size, size)
    # start where the nuisances would be if they followed the signal linearly
    start, x = np.zeros(size), np.empty(size)
    largest = 0.0
    for i in range(size):
        factor = mu * s[i] * pack.push[first + i]
        if factor != 0.0:
            for j in range(size):
                start[j] += factor * response[i, j]
    for i in range(size):
        largest = max(largest, abs(start[i]))
    scale = min(1.0, _LARGEST_STEP / largest) if largest > 0.0 else 0.0
    for i in range(size):
        start[i] = pack.pulls[first + i] + scale * start[i]
    has_converged, value, rise, _, _ = fit_nuisances(
        mu,
        pack.observed[first:last],
        pack.offset[first:last],
        s,
        precision,
        pack.sd[first:last],
        pack.bend[first:last],
        pack.lower[first:last],
        pack.upper[first:last],
        start,
        x,
    )
    if not has_converged:
        return np.nan, np.nan
    return pack.at_zero[model] - value, -rise


@njit(cache=True)
def evaluate_curves(mu: float, curves: Curves, value: FloatArray, slope: FloatArray) -> None:
    """Write ln L(μ)/L(0) and its slope of every curve; those of kind OTHER are left as they are.

    Args:
        mu: signal strength.
        curves: the curves.
        value: output, shape (num_curves,); nan where a fit failed.
        slope: output, shape (num_curves,).
    """
    for i in range(curves.kind.shape[0]):
        kind = curves.kind[i]
        p = curves.parameters[i]
        if kind == GAUSSIAN:
            value[i] = 0.5 * mu * (2.0 * p[0] - mu) * p[1]
            slope[i] = (p[0] - mu) * p[1]
        elif kind == COVARIANCE:
            value[i], slope[i] = _covariance_curve(mu, curves.part[i], curves.signal, curves.pack)
        elif kind != OTHER:
            nll, rise, _ = profile_region(mu, p[0], p[1], p[2], p[3], kind == SMODELS_REGION)
            value[i] = curves.at_zero[i] - nll
            slope[i] = -rise


@njit(cache=True)
def prepare_regions(curves: Curves, is_usable: NDArray[np.bool_]) -> None:
    """Fill in -ln L(0) of the regions; regions without a number are not usable."""
    for i in range(curves.kind.shape[0]):
        if curves.kind[i] <= SMODELS_REGION:
            p = curves.parameters[i]
            nll, _, _ = profile_region(0.0, p[0], p[1], p[2], p[3], curves.kind[i] == SMODELS_REGION)
            curves.at_zero[i] = nll
            is_usable[i] = np.isfinite(nll) and np.isfinite(p[3])


def _build_pack(likelihoods: Sequence[CovarianceLikelihood]) -> CovariancePack:
    def flat(arrays: Sequence[FloatArray]) -> FloatArray:
        return np.concatenate([np.empty(0), *arrays])

    models = [likelihood.model for likelihood in likelihoods]
    sizes = [model.num_bins for model in models]
    data = [likelihood.data for likelihood in likelihoods]
    zero = [likelihood.background_fit for likelihood in likelihoods]
    residual, push, response = [], [], []
    for model, counts, fit in zip(models, data, zero, strict=True):
        mean = model.offset + (model.sd + model.bend * fit.pulls) * fit.pulls
        tilt = model.sd + 2.0 * model.bend * fit.pulls
        with np.errstate(divide="ignore", invalid="ignore"):
            residual.append(np.where(counts.counts > 0.0, 1.0 - counts.counts / mean, 1.0))
            weight = np.where(counts.counts > 0.0, counts.counts / mean**2, 0.0)
        push.append(-tilt * weight)
        hessian = model.precision + np.diag(tilt**2 * weight + 2.0 * model.bend * residual[-1])
        free = np.flatnonzero((fit.pulls > counts.lower) & (fit.pulls < counts.upper))
        inverse = np.zeros_like(hessian)
        with contextlib.suppress(np.linalg.LinAlgError):  # without it, fits start at the background fit
            inverse[np.ix_(free, free)] = np.linalg.inv(hessian[np.ix_(free, free)])
        response.append(inverse.ravel())
    return CovariancePack(
        start=np.array([0, *np.cumsum(sizes)], dtype=np.int32),
        matrix_start=np.array([0, *np.cumsum(np.square(sizes))], dtype=np.int32),
        observed=flat([counts.counts for counts in data]),
        offset=flat([model.offset for model in models]),
        sd=flat([model.sd for model in models]),
        bend=flat([model.bend for model in models]),
        lower=flat([counts.lower for counts in data]),
        upper=flat([counts.upper for counts in data]),
        pulls=flat([fit.pulls for fit in zero]),
        residual=flat(residual),
        push=flat(push),
        precision=flat([model.precision.ravel() for model in models]),
        response=flat(response),
        at_zero=np.array([likelihood.minimum_at_zero for likelihood in likelihoods], dtype=np.float64),
    )


_NO_MODELS = _build_pack(())
_packs: dict[tuple[object, ...], CovariancePack] = {}
_MAX_PACKS = 4096


def pack_covariances(likelihoods: Sequence[CovarianceLikelihood]) -> CovariancePack:
    """Their models and data behind one another; packs of an analysis's own data are remembered."""
    if not likelihoods:
        return _NO_MODELS
    if any(likelihood.has_own_counts for likelihood in likelihoods):
        return _build_pack(likelihoods)
    key = tuple((likelihood.model, likelihood.data_kind) for likelihood in likelihoods)
    pack = _packs.get(key)
    if pack is None:
        if len(_packs) >= _MAX_PACKS:
            _packs.clear()
        pack = _packs[key] = _build_pack(likelihoods)
    return pack


class CurveSet:
    """Curves as arrays, with the likelihoods that compiled code cannot ask.

    Args:
        likelihoods: any likelihoods, in the order of the curves.

    Attributes:
        curves: the arrays.
        others: position and likelihood of every curve of kind OTHER.
        is_usable: which curves yield numbers at all, shape (num_curves,).
    """

    def __init__(self, likelihoods: Sequence[Likelihood]) -> None:
        size = len(likelihoods)
        kind, part = np.empty(size, dtype=np.int8), np.full(size, -1, dtype=np.int32)
        parameters, is_bent = np.zeros((size, 4)), np.zeros(size, dtype=np.bool_)
        self.is_usable: NDArray[np.bool_] = np.ones(size, dtype=np.bool_)
        self.others: list[tuple[int, Likelihood]] = []
        covariances: list[CovarianceLikelihood] = []
        for i, likelihood in enumerate(likelihoods):
            if isinstance(likelihood, SingleRegionLikelihood):
                kind[i] = SMODELS_REGION if likelihood.conventions.has(Conventions.REGION_NUISANCES) else REGION
                parameters[i] = likelihood.data, likelihood.background, likelihood.background_error, likelihood.signal
                continue
            self.is_usable[i] = likelihood.outcome is Outcome.OK
            if isinstance(likelihood, TruncatedGaussianLikelihood):
                kind[i] = GAUSSIAN
                parameters[i, 0] = likelihood.centre
                parameters[i, 1] = 1.0 / likelihood.sigma_mu**2 if self.is_usable[i] else np.nan
                continue
            is_bent[i] = not likelihood.is_concave
            if isinstance(likelihood, CovarianceLikelihood) and self.is_usable[i]:
                kind[i], part[i] = COVARIANCE, len(covariances)
                covariances.append(likelihood)
            else:
                kind[i] = OTHER
                self.others.append((i, likelihood))
        signal = np.concatenate([np.empty(0), *(likelihood.signal for likelihood in covariances)])
        self.curves = Curves(kind, parameters, np.zeros(size), is_bent, part, signal, pack_covariances(covariances))
        prepare_regions(self.curves, self.is_usable)

    @classmethod
    def of_arrays(cls, curves: Curves, others: list[tuple[int, Likelihood]], is_usable: NDArray[np.bool_]) -> CurveSet:
        """Curves that are arrays already, with the likelihoods of kind OTHER by position."""
        made = cls.__new__(cls)
        made.curves, made.others, made.is_usable = curves, others, is_usable
        return made

    def at(self, mu: float) -> tuple[FloatArray, FloatArray]:
        """ln L(μ)/L(0) and slope of every curve; nan where a fit failed."""
        value, slope = np.empty(len(self.curves.kind)), np.empty(len(self.curves.kind))
        evaluate_curves(mu, self.curves, value, slope)
        self.ask_others(mu, value, slope)
        return value, slope

    def ask_others(self, mu: float, value: FloatArray, slope: FloatArray) -> None:
        """Write the curves that compiled code left out."""
        for i, likelihood in self.others:
            value[i], slope[i] = likelihood.log_ratio(mu)

    def select(self, rows: NDArray[np.int64]) -> CurveSet:
        """The curves of some rows; arrays of the pack are shared."""
        curves, position = self.curves, {int(row): i for i, row in enumerate(rows)}
        chosen = Curves(
            curves.kind[rows], curves.parameters[rows], curves.at_zero[rows], curves.is_bent[rows], curves.part[rows],
            curves.signal, curves.pack,
        )  # fmt: skip
        others = [(position[i], likelihood) for i, likelihood in self.others if i in position]
        return CurveSet.of_arrays(chosen, others, self.is_usable[rows])
