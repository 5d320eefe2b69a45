"""A HistFactory model around its background-only fit: everything that a quadratic approximation needs.

    -ln L(θ) ≈ -ln L(θ̂) + gᵀ(θ - θ̂) + ½ (θ - θ̂)ᵀ H (θ - θ̂),      ν(θ) ≈ ν̂ + J (θ - θ̂)

H is the exact Hessian of the compiled kernels (constraints, Poisson terms, curvature of the interpolations), J the analytic
Jacobian of the expected events. Parameters that are fixed, that nothing depends on, or that the fit pushes against a bound stay.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.likelihoods.histfactory import HistFactoryModel
from inference.likelihoods.histfactory.kernels import differentiate, evaluate, make_work, multiply_hessian
from inference.likelihoods.histfactory.parameters import Constraint
from inference.likelihoods.histfactory.problem import Measured
from inference.likelihoods.simplified.errors import SimplificationError
from inference.types import DataKind, FloatArray, IntArray, Outcome

_AT_BOUND = 1e-8
_SMALLEST_MEAN = 1e-12


class Expansion(NamedTuple):
    """A model at its background-only fit, in the parameters that the fit may move.

    Attributes:
        free: positions of these parameters in the model, shape (num_free,).
        means: expected events ν̂ per bin, shape (num_bins,).
        jacobian: ∂ν/∂θ, shape (num_bins, num_free).
        gradient: of -ln L, shape (num_free,).
        hessian: of -ln L, shape (num_free, num_free).
        widths: half-widths √(1/12) (upper - lower) of flat distributions within the bounds for parameters without
            constraint, inf for the others, shape (num_free,).
    """

    free: IntArray
    means: FloatArray
    jacobian: FloatArray
    gradient: FloatArray
    hessian: FloatArray
    widths: FloatArray


def expand_at_fit(model: HistFactoryModel, is_blind: NDArray[np.bool_] | None = None) -> Expansion:
    """The expansion at the fit to all observed data.

    Args:
        model: the full model.
        is_blind: bins whose Poisson terms are left out of gradient and Hessian, shape (num_bins,); none by default.

    Raises:
        SimplificationError: the background-only fit fails.
    """
    fit = model.background_fit(DataKind.OBSERVED)
    if fit.outcome is not Outcome.OK:
        raise SimplificationError(f"the background-only fit of the workspace fails ({fit.outcome.value}), so that it cannot be simplified")
    data, problem, theta = model.data(DataKind.OBSERVED), model.problem, np.ascontiguousarray(fit.parameters)
    blind = np.zeros(model.num_bins, dtype=np.bool_) if is_blind is None else is_blind
    # a bin that saw what is expected has no gradient, and the Hessian JᵀJ/ν, which is taken out again
    counts = np.where(blind, np.maximum(fit.means, _SMALLEST_MEAN), data.counts)
    measured = Measured(model.no_signal.scale, counts, data.auxdata, model.no_signal.weight)
    work = make_work(problem)
    evaluate(problem, measured, theta, work)
    is_free = problem.is_free.copy()
    differentiate(problem, measured, theta, is_free, work)
    layout, num_bins = problem.layout, model.num_bins
    columns = np.zeros((len(theta), num_bins))
    for p in layout.shared:
        columns[p] = work.jacobian[layout.slot[p] + layout.stride[p] * np.arange(num_bins)]
    columns[layout.local, layout.local_bin] = work.jacobian[layout.slot[layout.local]]
    gradient = work.gradient.copy()
    all_data_gradient = gradient + (columns * np.where(blind, _residual(data.counts, fit.means), 0.0)).sum(axis=1)
    pushes_down = (theta - problem.lower <= _AT_BOUND) & (all_data_gradient > 0.0)
    pushes_up = (problem.upper - theta <= _AT_BOUND) & (all_data_gradient < 0.0)
    has_effect = columns.any(axis=1) | (model.table.constraint != Constraint.NONE)
    free = np.flatnonzero((is_free == 1) & ~pushes_down & ~pushes_up & has_effect).astype(np.int32)
    hessian = np.empty((len(free), len(free)))
    direction, out = np.zeros(len(theta)), np.empty(len(theta))
    for row, p in enumerate(free):
        direction[p] = 1.0
        multiply_hessian(problem, theta, direction, work, out)
        hessian[row] = out[free]
        direction[p] = 0.0
    jacobian = np.ascontiguousarray(columns[free].T)
    seen = jacobian[blind]
    hessian -= seen.T @ (seen / np.maximum(fit.means[blind], _SMALLEST_MEAN)[:, None])
    is_unconstrained = model.table.constraint[free] == Constraint.NONE
    widths = np.where(is_unconstrained, (problem.upper - problem.lower)[free] / np.sqrt(12.0), np.inf)
    return Expansion(free, fit.means.copy(), jacobian, gradient[free], 0.5 * (hessian + hessian.T), widths)


def _residual(counts: FloatArray, means: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        residual: FloatArray = np.where(counts > 0.0, 1.0 - counts / means, 1.0)
    return residual


def invert_precision(precision: FloatArray) -> tuple[FloatArray, bool]:
    """Inverse of a symmetric matrix and whether eigenvalues had to be lifted to 1e-10 of the largest, after scaling its diagonal to 1."""
    diagonal = np.diag(precision)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    eigenvalues, vectors = np.linalg.eigh(precision * np.outer(scale, scale))
    floor = 1e-10 * eigenvalues[-1]
    inverse = (vectors / np.maximum(eigenvalues, floor)) @ vectors.T
    covariance: FloatArray = inverse * np.outer(scale, scale)
    return covariance, bool(eigenvalues[0] < floor)
