"""What keeps rates: which decays survive a change of the spectrum, and which κ leave σ·BR of the survivors as it was.

Walk: moves ──▶ **rates** ──▶ protomodel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from builder.decays import Daughters, find_channel, is_open
from builder.particles import is_bsm
from inference.cross_sections import reference_xsec_fb
from inference.spectrum import PidPair

MAX_SSM = 1.0e5
"""Largest signal strength multiplier a compensation for lost decays may produce."""


def surviving_decays(
    branching_ratios: Mapping[int, Mapping[Daughters, float]], masses: Mapping[int, float]
) -> tuple[dict[int, dict[Daughters, float]], dict[int, float]]:
    """Return what is left of the decays in a spectrum, normalised, and which fraction of each mother's decays that was.

    A channel of the pool survives where it is open, any other one where its BSM daughters exist and are lighter.

    Args:
        branching_ratios: decays before the change.
        masses: masses [GeV] after the change, by positive PDG id; mothers that are not listed are dropped.

    Returns:
        The normalised decays per remaining mother (mothers that lost every channel have none), and the surviving
        fraction (0 to 1) per mother that lost something.
    """
    remaining: dict[int, dict[Daughters, float]] = {}
    survival: dict[int, float] = {}
    for pid, channels in branching_ratios.items():
        if pid not in masses:
            continue
        kept = {daughters: br for daughters, br in channels.items() if _survives(pid, daughters, masses)}
        if len(kept) == len(channels):
            remaining[pid] = dict(channels)
            continue
        total = math.fsum(kept.values())
        survival[pid] = total
        remaining[pid] = {daughters: br / total for daughters, br in kept.items()} if total > 0.0 else {}
    return remaining, survival


def _survives(pid: int, daughters: Daughters, masses: Mapping[int, float]) -> bool:
    channel = find_channel(pid, daughters)
    if channel is not None:
        return is_open(channel, masses)
    bsm = [abs(d) for d in daughters if is_bsm(d)]
    return all(d in masses for d in bsm) and sum(masses[d] for d in bsm) < masses[pid]


def compensated_ssms(ssms: Mapping[PidPair, float], survival: Mapping[int, float], *, max_ssm: float = MAX_SSM) -> dict[PidPair, float]:
    """Return the κ that keep σ·BR of the surviving channels: multiplied by the surviving fraction, once per leg.

    When a channel closes and the others are scaled up by 1/fraction, σ has to go down by the fraction per particle of
    the pair. Pairs whose particles lost nothing are not returned; a mother that lost everything keeps its κ.
    """
    changed: dict[PidPair, float] = {}
    for pair, value in ssms.items():
        factor = (survival.get(abs(pair[0])) or 1.0) * (survival.get(abs(pair[1])) or 1.0)
        if factor != 1.0:
            changed[pair] = min(max_ssm, value * factor)
    return changed


def implied_ssms(masses: Mapping[int, float], xsecs_fb: Mapping[int, Mapping[PidPair, float]]) -> dict[PidPair, float]:
    """Return κ = σ/σ_ref at 13 TeV for every pair of given cross sections [fb], 1 where there is no reference."""
    pairs = {pair for xsecs in xsecs_fb.values() for pair in xsecs}
    ssms: dict[PidPair, float] = {}
    for pair in sorted(pairs):
        reference = reference_xsec_fb(pair, masses, 13)
        ssms[pair] = xsecs_fb.get(13, {}).get(pair, 0.0) / reference if reference else 1.0
    return ssms
