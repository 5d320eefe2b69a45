"""Further factors of the prior, by name, as in the second version of the reference program; none is used unless asked for.

Walk: protomodel, predictions ──▶ **penalties** ──▶ score. Each factor f enters K as 2 ln f:

missing_experiment       1 if the predictions (all of them, not the combination) come from ATLAS and from CMS, 0.1 if from one of
                         them, 0.01 if there are none.
extreme_ssms             Π over the pairs with κ <= 0.01 or κ >= 100 of 1 - |log10 κ|/20, each at least 1e-10. κ = 0 is free, as
                         published; a process switched off to 1e-5 costs 2 ln 0.75 = -0.58.
undemocratic_flavours    for X_W^1 and X_Z^2 where they decay off shell:
                         0 if two- and three-body decays are mixed;
                         1 if no decay is leptonic (for X_W^1: only if there is a single channel);
                         1/(4 - n) if n ≠ 3 lepton flavours appear, where the tau channel is open; ½ if n ≠ 2, where it is closed;
                         else 1 - δ/3, δ the largest deviation of a branching ratio, quarks included, from their mean.

One deviation: whether the tau channel is open is decided by its masses; the reference has the thresholds of X_Z^2 and X_W^1 exchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from builder.decays import find_channel, is_off_shell, is_open
from builder.particles import is_bsm
from builder.protomodel import ProtoModel
from inference.spectrum import LBP_PID
from inference.types import Predictions

if TYPE_CHECKING:
    from database.results.store import ResultsStore

_SMALL_SSM, _LARGE_SSM = 0.01, 100.0
_LEPTONS = frozenset({11, 12, 13, 14, 15, 16})
_TAU_CHANNELS = {1000023: (-15, 15, LBP_PID), 1000024: (-15, 16, LBP_PID)}


class PenaltyName(StrEnum):
    """Penalties by name; see the module."""

    MISSING_EXPERIMENT = "missing_experiment"
    EXTREME_SSMS = "extreme_ssms"
    UNDEMOCRATIC_FLAVOURS = "undemocratic_flavours"


def log_missing_experiment(predictions: Predictions, store: ResultsStore) -> float:
    """ln f of `missing_experiment`."""
    if predictions.result.size == 0:
        return math.log(0.01)
    experiments = {store.results[result].experiment for result in np.unique(predictions.result).tolist()}
    return 0.0 if len(experiments) > 1 else math.log(0.1)


def log_extreme_ssms(protomodel: ProtoModel) -> float:
    """ln f of `extreme_ssms`.

    Examples:
        >>> model = ProtoModel({1000022: 160.0, 1000006: 1100.0}, {1000006: {(6, 1000022): 1.0}}, {(-1000006, 1000006): 1e-5})
        >>> round(2 * log_extreme_ssms(model), 2)
        -0.58
    """
    return math.fsum(
        math.log(max(1e-10, 1.0 - abs(math.log10(value)) / 20.0))
        for value in protomodel.ssms.values()
        if value > 0.0 and not _SMALL_SSM < value < _LARGE_SSM
    )


def log_undemocratic_flavours(protomodel: ProtoModel) -> float:
    """ln f of `undemocratic_flavours`; -inf for a model it forbids."""
    total = 0.0
    for pid in _TAU_CHANNELS:
        if pid in protomodel.masses and is_off_shell(pid, protomodel.masses):
            factor = _flavour_factor(pid, protomodel)
            total += math.log(factor) if factor > 0.0 else -math.inf
    return total


def _flavour_factor(pid: int, protomodel: ProtoModel) -> float:
    channels = protomodel.branching_ratios.get(pid, {})
    if len({len(daughters) for daughters in channels}) > 1:
        return 0.0
    num_flavours = sum(any(abs(d) in _LEPTONS for d in daughters if not is_bsm(d)) for daughters in channels)
    if num_flavours == 0:
        return 1.0 if len(channels) <= 1 or pid != 1000024 else 0.0
    tau = find_channel(pid, _TAU_CHANNELS[pid])
    is_tau_open = tau is not None and is_open(tau, protomodel.masses)
    if num_flavours != (3 if is_tau_open else 2):
        return 1.0 / (4 - num_flavours) if is_tau_open else 0.5
    mean = math.fsum(channels.values()) / len(channels)
    return 1.0 - max(abs(value - mean) for value in channels.values()) / 3.0


_OF_MODEL: Mapping[PenaltyName, Callable[[ProtoModel], float]] = {
    PenaltyName.EXTREME_SSMS: log_extreme_ssms,
    PenaltyName.UNDEMOCRATIC_FLAVOURS: log_undemocratic_flavours,
}


def log_penalties(
    protomodel: ProtoModel, predictions: Predictions, store: ResultsStore, names: Collection[PenaltyName]
) -> dict[str, float]:
    """ln f of the penalties asked for, by name, in the order of `PenaltyName`.

    Args:
        protomodel: the model.
        predictions: what the results predict for it.
        store: the results.
        names: which penalties.
    """
    return {
        name.value: log_missing_experiment(predictions, store) if name is PenaltyName.MISSING_EXPERIMENT else _OF_MODEL[name](protomodel)
        for name in PenaltyName
        if name in names
    }
