"""Pseudo-experiments of a likelihood: random counts and random auxiliary data of a hypothesis.

A toy of the hypothesis μ takes the nuisances from the fit to the data at that μ (Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727,
section 2): counts follow the Poisson distributions of the fitted expectations, and the auxiliary measurements that constrain the nuisances
fluctuate around their fitted values with the widths of their constraints. Every toy is a likelihood of its own, so that whatever can be
asked of data can be asked of toys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from inference.likelihoods.covariance import CovarianceLikelihood
from inference.likelihoods.histfactory.likelihood import HistFactoryLikelihood
from inference.likelihoods.histfactory.parameters import Constraint
from inference.likelihoods.product import ProductLikelihood
from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.single_region import SingleRegionLikelihood, profile_arrays
from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood
from inference.types import DataKind, FloatArray, Outcome


class NoToysError(TypeError):
    """Pseudo-experiments of this kind of likelihood are not defined."""


@runtime_checkable
class ToySource(Protocol):
    """A likelihood that makes its own toys."""

    def draw_toys(self, mu: float, num_toys: int, rng: np.random.Generator) -> Iterator[Likelihood]:
        """Pseudo-experiments of the hypothesis μ."""


def draw_toys(likelihood: Likelihood, mu: float, num_toys: int, rng: np.random.Generator) -> Iterator[Likelihood]:
    """Pseudo-experiments of a hypothesis.

    Args:
        likelihood: of the data, which fix the nuisances.
        mu: signal strength of the hypothesis.
        num_toys: how many.
        rng: source of randomness; equal states give equal toys.

    Raises:
        NoToysError: toys of this kind of likelihood are not defined.
    """
    if isinstance(likelihood, ToySource):
        return likelihood.draw_toys(mu, num_toys, rng)
    if isinstance(likelihood, SingleRegionLikelihood):
        return _of_region(likelihood, mu, num_toys, rng)
    if isinstance(likelihood, CovarianceLikelihood):
        return _of_covariance(likelihood, mu, num_toys, rng)
    if isinstance(likelihood, HistFactoryLikelihood):
        return _of_workspace(likelihood, mu, num_toys, rng)
    if isinstance(likelihood, TruncatedGaussianLikelihood):
        centres = rng.normal(mu, likelihood.sigma_mu, num_toys)
        return (TruncatedGaussianLikelihood(centre, likelihood.sigma_mu) for centre in centres.tolist())
    if isinstance(likelihood, ProductLikelihood):
        streams = [draw_toys(member, mu, num_toys, rng.spawn(1)[0]) for member in likelihood.members]
        return (ProductLikelihood(members) for members in zip(*streams, strict=True))
    raise NoToysError(f"pseudo-experiments of {type(likelihood).__name__} are not defined")


# ------------------------------------------------------------------------------------------------------- single regions


def region_toys(likelihood: SingleRegionLikelihood, mu: float, num_toys: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Counts and measured backgrounds [events] of toys, shape (num_toys,) each."""
    n, b, error, s = (np.array([x]) for x in (likelihood.data, likelihood.background, likelihood.background_error, likelihood.signal))
    fitted = max(0.0, likelihood.background + float(profile_arrays(mu, n, b, error, s, likelihood.conventions).theta[0]))
    counts = rng.poisson(max(0.0, mu * likelihood.signal + fitted), num_toys).astype(np.float64)
    return counts, fitted + likelihood.background_error * rng.standard_normal(num_toys)


def _of_region(likelihood: SingleRegionLikelihood, mu: float, num_toys: int, rng: np.random.Generator) -> Iterator[Likelihood]:
    counts, backgrounds = region_toys(likelihood, mu, num_toys, rng)
    for count, background in zip(counts.tolist(), backgrounds.tolist(), strict=True):
        yield replace(likelihood, observed=count, background=background, data_kind=DataKind.OBSERVED)


def region_statistics(likelihood: SingleRegionLikelihood, mu: float, counts: FloatArray, backgrounds: FloatArray) -> FloatArray:
    """q̃_μ of many toys of one region, shape (num_toys,): two calls of compiled code.

    Args:
        likelihood: the region.
        mu: tested signal strength.
        counts, backgrounds: of the toys, see `region_toys`.
    """
    size = len(counts)
    errors = np.full(size, likelihood.background_error)
    best = np.maximum(counts - np.maximum(backgrounds, 0.0), 0.0)  # μ̂ s
    tested = np.full(size, mu * likelihood.signal)
    at_test = profile_arrays(1.0, counts, backgrounds, errors, tested, likelihood.conventions).nll
    at_best = profile_arrays(1.0, counts, backgrounds, errors, best, likelihood.conventions).nll
    with np.errstate(invalid="ignore"):
        statistics: FloatArray = np.where(best < tested, np.maximum(2.0 * (at_test - at_best), 0.0), 0.0)
    return statistics


# ----------------------------------------------------------------------------------------------------------- analyses


def _of_covariance(likelihood: CovarianceLikelihood, mu: float, num_toys: int, rng: np.random.Generator) -> Iterator[Likelihood]:
    model, fit = likelihood.model, likelihood.fit(mu)
    if fit.outcome is not Outcome.OK:
        return
    mean = np.maximum(model.offset + mu * likelihood.signal + (model.sd + model.bend * fit.pulls) * fit.pulls, 0.0)
    root = np.linalg.cholesky(np.linalg.inv(model.precision))
    for _ in range(num_toys):
        counts = rng.poisson(mean).astype(np.float64)
        measured = fit.pulls + root @ rng.standard_normal(model.num_bins)
        yield CovarianceLikelihood(model.shifted(measured), likelihood.signal, counts=counts, start=fit.pulls - measured)


def _of_workspace(likelihood: HistFactoryLikelihood, mu: float, num_toys: int, rng: np.random.Generator) -> Iterator[Likelihood]:
    model, fit = likelihood.model, likelihood.fit(mu)
    if fit.outcome is not Outcome.OK:
        return
    table = model.table
    normal = np.flatnonzero((table.constraint == Constraint.NORMAL) & ~table.is_fixed)
    poisson = np.flatnonzero((table.constraint == Constraint.POISSON) & ~table.is_fixed)
    mean = np.maximum(fit.means, 0.0)
    for _ in range(num_toys):
        counts = rng.poisson(mean).astype(np.float64)
        measured = table.auxdata.copy()
        measured[normal] = rng.normal(fit.parameters[normal], table.width[normal])
        measured[poisson] = rng.poisson(fit.parameters[poisson] * table.width[poisson])
        yield HistFactoryLikelihood(model, likelihood.signal, counts=counts, auxdata=measured)
