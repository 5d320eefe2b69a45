"""What the readers of model files share.

Branching ratios in files are rounded and list the charge modes of self-conjugate mothers one by one; a ProtoModel wants
them to add up to 1 and one key for both modes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from builder.decays import Daughters, canonical_daughters, charge_modes
from builder.model_checks import BR_SUM_TOLERANCE, join_pids
from builder.particles import MAX_UNFROZEN_MASS, POOL_PIDS, is_known, particle_of
from database.errors import ModelFormatError

BR_ROUNDING_TOLERANCE = 0.02
"""Branching ratios of a file whose sum misses 1 by less than this are normalised, others are an error."""

MODE_TOLERANCE = 1.0e-3
"""The two charge modes of a self-conjugate mother may differ by this fraction of their sum (rounding)."""

_HEAVY_HIGGSES = frozenset({35, 36, 37})
_FIRST_BSM_PID = 1000000


def fold_channels(mother: int, channels: Mapping[Daughters, float], field: str) -> dict[Daughters, float]:
    """Return branching ratios with one key per pair of charge modes, normalised if they miss 1 by rounding only.

    Args:
        mother: positive PDG id.
        channels: branching ratio per final state (signed pids in any order); one charge mode may stand for both.
        field: name of the field for the error.

    Raises:
        ModelFormatError: the charge modes differ, or the sum is too far from 1.
    """
    modes: dict[Daughters, dict[Daughters, float]] = {}
    for daughters, br in channels.items():
        if br == 0:
            continue
        key = canonical_daughters(mother, daughters)
        mode = tuple(sorted(daughters))
        listed = modes.setdefault(key, {})
        listed[mode] = listed.get(mode, 0.0) + br
    folded: dict[Daughters, float] = {}
    for key, listed in modes.items():
        values = list(listed.values())
        if len(charge_modes(mother, key)) == 2 and len(values) == 2 and abs(values[0] - values[1]) > MODE_TOLERANCE * sum(values):
            raise ModelFormatError(
                f"{field}[{join_pids(key)}]: {particle_of(mother).name} is its own antiparticle, but its two charge modes "
                f"have different branching ratios ({values[0]:g} and {values[1]:g})."
            )
        folded[key] = math.fsum(values)
    total = math.fsum(folded.values())
    deviation = abs(total - 1.0)
    if not folded or deviation <= BR_SUM_TOLERANCE:
        return folded
    if not deviation <= BR_ROUNDING_TOLERANCE:
        raise ModelFormatError(f"{field}: the branching ratios add up to {total:.6g}, not to 1.")
    return {key: br / total for key, br in folded.items()}


def read_number(value: object, field: str) -> float:
    """Return a number of a file as a finite float.

    Raises:
        ModelFormatError: it is not a number, not finite, or too large; the sentence names the field.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ModelFormatError(f"{field}: expected a number, found {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ModelFormatError(f"{field}: expected a finite number, found {number:g}.")
    return number


def unfrozen_masses(masses: Mapping[int, float], field: str) -> dict[int, float]:
    """Return the masses [GeV] of the pool's unfrozen particles, signs removed, Standard Model entries dropped.

    Raises:
        ModelFormatError: an unfrozen particle is not in the pool.
    """
    unfrozen = {}
    for pid, mass in masses.items():
        if abs(mass) >= MAX_UNFROZEN_MASS:
            continue
        if is_known(pid):
            unfrozen[pid] = abs(mass)
        elif pid >= _FIRST_BSM_PID or pid in _HEAVY_HIGGSES:
            raise ModelFormatError(f"{field}: particle {pid} ({mass:g} GeV) is not one of the {len(POOL_PIDS)} of the pool.")
    return unfrozen
