"""How decays follow when masses or the content change, reversibly.

A change of the spectrum takes groups of channels away from a particle (L), leaves others (C) and makes new ones available (N). Open
groups of C keep their relative branching ratios; those of L close; of N some open:

- k' of the |N| groups open with probability ∝ exp(-k'/channel_decay), at least one where no open group is left; which ones: uniform;
- their summed branching ratio f' ~ Beta(k', k_C), its parts flat on the simplex: what a flat distribution on all k_C + k' groups
  gives them.

The reverse change does the same with L and N exchanged, so f and the parts of L are what it would have to draw. In the coordinates
(f, parts of C, parts of L) nothing but f and the parts of L is replaced; the volume element of these coordinates is
(1 - f)^(k_C - 1) f^(k_L - 1) per unit of the branching ratios.

A particle that joins has C = L = ∅, one that leaves C = N = ∅.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from builder.decays import ChannelTable
from builder.sampling.moves.protocol import RatioTerms
from builder.sampling.state import SamplerState, available_groups
from inference.spectrum import LBP_PID

Incoming = Mapping[int, Mapping[str, float]]
"""Branching ratios of the groups that open, per particle that gains groups (possibly none of them)."""


@lru_cache(maxsize=4096)
def log_size_law(num_new: int, has_open: bool, decay: float) -> tuple[float, ...]:
    """Return ln P(k) that k of the new groups open, k = 0 ... num_new; k = 0 only where other groups are open."""
    weights = [math.exp(-k / decay) if k > 0 or has_open else 0.0 for k in range(num_new + 1)]
    total = math.fsum(weights)
    return tuple(math.log(weight / total) if weight > 0.0 else -math.inf for weight in weights)


class Change:
    """What a new spectrum does to the groups of one particle.

    Args:
        pid: positive PDG id.
        state: the present state.
        masses: the new masses [GeV]; without `pid` if it leaves.
        table: channels that exist.
    """

    def __init__(self, pid: int, state: SamplerState, masses: Mapping[int, float], table: ChannelTable) -> None:
        old = available_groups(pid, state.masses, table) if pid in state.masses else ()
        new = available_groups(pid, masses, table) if pid in masses else ()
        self.groups = dict(state.decays.get(pid, {}))
        self.kept = {group: br for group, br in self.groups.items() if group in new}
        self.lost = {group: br for group, br in self.groups.items() if group not in new}
        self.gained = tuple(group for group in new if group not in old)
        self.num_losable = sum(group not in new for group in old)
        self.is_staying = pid in masses

    @property
    def is_stranded(self) -> bool:
        """Return whether the particle would have no open group, whatever is drawn."""
        return self.is_staying and not self.kept and not self.gained


def list_changes(state: SamplerState, masses: Mapping[int, float], table: ChannelTable) -> dict[int, Change] | None:
    """Return the changes per particle that the new masses [GeV] cause; None if one of them has no channel left."""
    changes = {pid: Change(pid, state, masses, table) for pid in sorted({*state.masses, *masses} - {LBP_PID})}
    return None if any(change.is_stranded for change in changes.values()) else changes


def draw_incoming(rng: np.random.Generator, changes: Mapping[int, Change], decay: float) -> dict[int, dict[str, float]]:
    """Return which new groups open, with their branching ratios."""
    incoming: dict[int, dict[str, float]] = {}
    for pid, change in changes.items():
        if not change.gained:
            continue
        law = log_size_law(len(change.gained), bool(change.kept), decay)
        size = int(np.searchsorted(np.cumsum(np.exp(law)), rng.random() * (1.0 - 1e-15), side="right"))
        chosen = sorted(rng.choice(len(change.gained), size, replace=False).tolist()) if size else []
        share = float(rng.beta(size, len(change.kept))) if size and change.kept else 1.0
        parts = rng.dirichlet(np.ones(size)) if size else ()
        incoming[pid] = {change.gained[index]: share * float(part) for index, part in zip(chosen, parts, strict=True)}
    return incoming


def transfer(
    changes: Mapping[int, Change], incoming: Incoming, decay: float
) -> tuple[dict[int, dict[str, float]], dict[int, dict[str, float]], RatioTerms] | None:
    """Return the new decays, what the reverse change has to draw, and the terms of the log proposal ratio.

    Args:
        changes: from `list_changes`.
        incoming: from `draw_incoming`.
        decay: `channel_decay` of the settings.

    Returns:
        None where branching ratios are too small to be told from zero.
    """
    decays: dict[int, dict[str, float]] = {}
    outgoing: dict[int, dict[str, float]] = {}
    selection = density = jacobian = 0.0
    for pid, change in changes.items():
        opened = incoming.get(pid, {})
        if change.num_losable:
            outgoing[pid] = change.lost
        if not change.lost and not opened and change.kept:
            decays[pid] = change.groups
            if change.num_losable or change.gained:
                selection += _log_choice(change.num_losable, 0, True, decay) - _log_choice(len(change.gained), 0, True, decay)
            continue
        num_kept = len(change.kept)
        if change.num_losable:
            selection += _log_choice(change.num_losable, len(change.lost), num_kept > 0, decay)
        if change.is_staying and (change.gained or not num_kept):
            selection -= _log_choice(len(change.gained), len(opened), num_kept > 0, decay)
        old_share, new_share = _share(change.lost, num_kept), _share(opened, num_kept)
        if not (_is_usable(old_share, len(change.lost), num_kept) and _is_usable(new_share, len(opened), num_kept)):
            return None
        density += _log_density(old_share, len(change.lost), num_kept) - _log_density(new_share, len(opened), num_kept)
        jacobian += _log_volume(new_share, len(opened), num_kept) - _log_volume(old_share, len(change.lost), num_kept)
        if change.is_staying:
            factor = (1.0 - new_share) / math.fsum(change.kept.values()) if num_kept else 0.0
            decays[pid] = {**{group: br * factor for group, br in change.kept.items()}, **opened}
    return decays, outgoing, RatioTerms(selection, density, jacobian)


def _share(groups: Mapping[str, float], num_kept: int) -> float:
    """The summed branching ratio of groups that come or go; exactly one where nothing else is open."""
    if not num_kept:
        return 1.0 if groups else 0.0
    return math.fsum(groups.values())


def _is_usable(share: float, size: int, num_kept: int) -> bool:
    return not size or not num_kept or 0.0 < share < 1.0


def _log_choice(num_new: int, size: int, has_open: bool, decay: float) -> float:
    """ln of the probability that exactly these groups open."""
    return log_size_law(num_new, has_open, decay)[size] - math.log(math.comb(num_new, size))


def _log_density(share: float, size: int, num_kept: int) -> float:
    """ln of the density of a summed branching ratio and its parts."""
    if not size:
        return 0.0
    parts = math.lgamma(size)
    if not num_kept:
        return parts
    beta = math.lgamma(size + num_kept) - math.lgamma(size) - math.lgamma(num_kept)
    return parts + beta + _log_volume(share, size, num_kept)


def _log_volume(share: float, size: int, num_kept: int) -> float:
    """ln of the volume of branching ratios per unit of (f, parts of both sides)."""
    if not size or not num_kept:
        return 0.0
    return (num_kept - 1) * math.log1p(-share) + (size - 1) * math.log(share)
