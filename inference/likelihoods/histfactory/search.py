"""Fits with a retry ladder and a look for deeper minima.

1. The background-only fit is the start; where that fails, the nominal values, then steps of μ towards its value, then other values.
2. At the minimum found, `scan` lists other valleys of single nuisances. All that are deeper make one new start together, the
   deepest one alone another, and those that are nearly as deep one each. This repeats while it helps.
3. Models with a normalisation that grows more than 20-fold per standard deviation (`is_wild`) have minima that no single
   nuisance leads to: there, and where a fit of a small model (`is_small`) is poor, fits also start at the nominal values and at
   a few scattered points, always the same.

Nothing here depends on earlier calls, nor on random numbers that differ between calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from inference.likelihoods.histfactory.parameters import Constraint
from inference.likelihoods.histfactory.problem import Measured
from inference.likelihoods.histfactory.scan import GRID, scan_parameters
from inference.types import FloatArray, Outcome

if TYPE_CHECKING:
    from inference.likelihoods.histfactory.model import HistFactoryFit, HistFactoryModel, ModelData, SignalArrays

_SMALLEST_GAIN = 1e-6
"""Another minimum has to be deeper by this to replace the first one."""
_DEEPER = -1e-4
_NEARLY_AS_DEEP = 0.1
_MAX_SINGLES = 4
_MAX_ROUNDS = 4
_HIGHEST = 50.0
"""Scattered starts whose -ln L is higher than the minimum by more than this are left out."""
_LADDER = (0.5, -0.5, 1.5, -1.5)
"""All shapes and normalisations start here, in standard deviations, where nothing else leads to a finite likelihood."""

Fitter = Callable[[FloatArray, float, bool], "HistFactoryFit"]


def measure(data: ModelData, signal: SignalArrays) -> Measured:
    """Data and signal as the kernels read them."""
    return Measured(signal.scale, data.counts, data.auxdata, signal.weight)


def find_minimum(
    model: HistFactoryModel,
    data: ModelData,
    signal: SignalArrays,
    mu: float,
    start: FloatArray,
    *,
    is_mu_free: bool = False,
    lowest_mu: float = 0.0,
    with_curvature: bool = False,
) -> HistFactoryFit:
    """The deepest minimum found, see the module; arguments as `HistFactoryModel.fit_from`."""

    def fit(parameters: FloatArray, strength: float, curvature: bool) -> HistFactoryFit:
        return model.fit_from(data, signal, strength, parameters, is_mu_free=is_mu_free, lowest_mu=lowest_mu, with_curvature=curvature)

    best = fit(start, mu, with_curvature)
    if best.outcome is not Outcome.OK:
        best = _climb_ladder(model, data, signal, mu, start, fit, with_curvature, is_mu_free)
    if best.outcome is not Outcome.OK:
        return best
    num_left = model.settings.max_starts - 1
    is_replaced = False
    for number in range(_MAX_ROUNDS):
        if num_left <= 0:
            break
        found = best
        others = [(parameters, best.mu) for parameters in _other_starts(model, data, signal, best.parameters)]
        if number == 0 and (model.is_wild or (model.is_small and _is_poor(model, data, best))):
            ceiling = best.nll + _HIGHEST
            others += [(x, best.mu) for x in _scattered_starts(model, start, best.mu) if model.nll_at(x, signal, data) < ceiling]
        if is_mu_free and number == 0:
            sigma = _signal_scale(best, data, signal)
            if best.curvature < 0.0:  # the profile bends down here: there is more to come
                others.append((model.table.inits, best.mu + 5.0 * sigma))
            else:
                others.append((start, best.mu + 2.0 * sigma))
        for parameters, strength in others[:num_left]:
            num_left -= 1
            trial = fit(parameters, strength, False)
            if trial.outcome is Outcome.OK and trial.nll < found.nll - _SMALLEST_GAIN:
                found = trial
        if found is best:
            break
        best, is_replaced = found, True
    if is_replaced and with_curvature:
        again = fit(best.parameters, best.mu, True)
        best = again if again.outcome is Outcome.OK else best
    return best


def _climb_ladder(
    model: HistFactoryModel,
    data: ModelData,
    signal: SignalArrays,
    mu: float,
    start: FloatArray,
    fit: Fitter,
    with_curvature: bool,
    is_mu_free: bool,
) -> HistFactoryFit:
    """Other starting points for a fit that failed; the last failure if none helps."""
    inits = model.table.inits
    best = fit(inits, mu, with_curvature)
    if best.outcome is not Outcome.OK and is_mu_free:
        best = fit(inits, mu + max(1.0, 2.0 * _signal_scale(best, data, signal)), with_curvature)
    if best.outcome is not Outcome.OK and not is_mu_free and np.isfinite(start).all():
        best = _approach(model, data, signal, mu, start, with_curvature)
    is_shape = (model.table.constraint == Constraint.NORMAL) & (model.table.lower < 0.0) & (model.problem.is_free == 1)
    for alpha in _LADDER:
        if best.outcome is Outcome.OK:
            break
        moved = np.where(is_shape, np.clip(alpha, model.table.lower, model.table.upper), inits)
        best = fit(moved, max(mu, 1.0) if is_mu_free else mu, with_curvature)
    return best


def _approach(
    model: HistFactoryModel, data: ModelData, signal: SignalArrays, mu: float, start: FloatArray, with_curvature: bool
) -> HistFactoryFit:
    """Steps of μ from 0 to its value, each from the fit before; ends at the first that fails."""
    fit = model.fit_from(data, signal, 0.0, start)
    for fraction in (0.125, 0.25, 0.5, 0.75, 1.0):
        if fit.outcome is not Outcome.OK:
            break
        fit = model.fit_from(data, signal, fraction * mu, fit.parameters, with_curvature=with_curvature and fraction == 1.0)
    return fit


def _signal_scale(fit: HistFactoryFit, data: ModelData, signal: SignalArrays) -> float:
    """A standard deviation of μ, from the curvature of the profile, else from statistics alone; 0 without signal."""
    information = abs(fit.curvature)
    if not information > 0.0:
        information = float((signal.yields**2 / np.maximum(data.counts, 1.0)).sum())
    return 1.0 / math.sqrt(information) if information > 0.0 else 0.0


def _is_poor(model: HistFactoryModel, data: ModelData, fit: HistFactoryFit) -> bool:
    """Whether a fit describes the data so badly that another minimum is likely to do better: deviance above 4 per bin + 10."""
    return 2.0 * (fit.nll - data.saturated) > 4.0 * model.num_bins + 10.0


def _scattered_starts(model: HistFactoryModel, start: FloatArray, mu: float) -> list[FloatArray]:
    """Nominal values, and points around the start that are the same in every call."""
    table = model.table
    is_shape = (table.constraint == Constraint.NORMAL) & (table.lower < 0.0) & (model.problem.is_free == 1)
    starts = [table.inits.copy()]
    for change in model.scatter:
        moved = np.clip(start + change, table.lower, table.upper)
        starts.append(np.where(is_shape, moved, start))
    for parameters in starts:
        parameters[model.poi_index] = mu
    return starts


def _other_starts(model: HistFactoryModel, data: ModelData, signal: SignalArrays, parameters: FloatArray) -> list[FloatArray]:
    """Starting points in other valleys, the most promising first."""
    valley, depth = np.empty((2, len(parameters))), np.empty((2, len(parameters)))
    scan_parameters(model.problem, GRID, model.function_table, measure(data, signal), parameters, valley, depth)
    best_side = np.argmin(depth, axis=0)
    deepest = np.take_along_axis(depth, best_side[None], axis=0)[0]
    deeper = np.flatnonzero(deepest < _DEEPER)
    starts: list[FloatArray] = []
    if len(deeper) > 1:
        together = parameters.copy()
        together[deeper] = valley[best_side[deeper], deeper]
        starts.append(together)
    promising = np.flatnonzero(depth.ravel() < _NEARLY_AS_DEEP)
    for flat in promising[np.argsort(depth.ravel()[promising], kind="stable")][:_MAX_SINGLES]:
        alone = parameters.copy()
        alone[flat % len(parameters)] = valley.ravel()[flat]
        starts.append(alone)
    return starts
