"""An editable copy of a protomodel, and the repairs every move needs after it changed masses or content.

Moves take an immutable `ProtoModel`, work on a `Draft` of it and freeze that into a new one. The repairs here keep the
invariants of a model in a walk: branching ratios of every particle but the lightest cover open channels only and sum
to one, multipliers exist for exactly those production pairs that have a reference cross section.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from builder.decays import CHANNELS, ChannelTable, Daughters, group_channels, is_off_shell, off_shell_branching_ratios
from builder.protomodel import ProtoModel
from builder.rates import compensated_ssms, surviving_decays
from inference.cross_sections import production_pairs
from inference.spectrum import LBP_PID, PidPair
from inference.types import FloatArray

DEFAULT_SSM = 1.0
"""Signal strength multiplier of a pair nobody has touched."""


def sort_pair(first: int, second: int) -> PidPair:
    """Return the sorted pair of two signed PDG ids."""
    return (first, second) if first <= second else (second, first)


def sign_class(pair: PidPair) -> PidPair:
    """Return the sorted pair of positive PDG ids: all sign variants of one process share it.

    Examples:
        >>> sign_class((-1000024, 1000022)), sign_class((1000022, 1000024))
        ((1000022, 1000024), (1000022, 1000024))
    """
    return sort_pair(abs(pair[0]), abs(pair[1]))


def sign_classes(masses: Iterable[int]) -> dict[PidPair, tuple[PidPair, ...]]:
    """Return the production pairs with a reference cross section, grouped by sign class, in increasing order.

    Args:
        masses: positive PDG ids of the model's particles.

    Examples:
        >>> sign_classes([1000022, 1000024])[1000022, 1000024]
        ((-1000024, 1000022), (1000022, 1000024))
    """
    classes: dict[PidPair, list[PidPair]] = {}
    for pair in production_pairs(masses):
        classes.setdefault(sign_class(pair), []).append(pair)
    return {key: tuple(classes[key]) for key in sorted(classes)}


@dataclass(slots=True)
class Draft:
    """Editable masses, branching ratios and multipliers of one model.

    Attributes:
        masses: mass [GeV] per positive PDG id.
        branching_ratios: branching ratio per positive PDG id and daughters.
        ssms: signal strength multiplier per sorted signed pid pair.
        was_off_shell: particles that decayed through their off-shell modes before any change.
        widths: total width [GeV] per positive PDG id of a long-lived particle.
        table: channels that may be opened (`builder.pool`).
    """

    masses: dict[int, float]
    branching_ratios: dict[int, dict[Daughters, float]]
    ssms: dict[PidPair, float]
    was_off_shell: frozenset[int]
    widths: dict[int, float] = field(default_factory=dict)
    table: ChannelTable = field(default_factory=lambda: CHANNELS, repr=False)

    @classmethod
    def from_protomodel(cls, protomodel: ProtoModel, table: ChannelTable = CHANNELS) -> Draft:
        """Return an independent, editable copy; multipliers that are not listed are 1."""
        masses = dict(protomodel.masses)
        return cls(
            masses=masses,
            branching_ratios={mother: dict(channels) for mother, channels in protomodel.branching_ratios.items()},
            ssms={pair: protomodel.ssms.get(pair, DEFAULT_SSM) for pair in production_pairs(masses)},
            was_off_shell=frozenset(pid for pid in masses if is_off_shell(pid, masses, table)),
            widths=dict(protomodel.widths),
            table=table,
        )

    def freeze(self) -> ProtoModel:
        """Return the immutable model; channels with branching ratio zero are left out."""
        return ProtoModel(
            masses=dict(self.masses),
            branching_ratios={
                mother: {daughters: br for daughters, br in channels.items() if br > 0.0}
                for mother, channels in self.branching_ratios.items()
                if mother in self.masses and mother != LBP_PID
            },
            ssms={pair: self.ssms.get(pair, DEFAULT_SSM) for pair in production_pairs(self.masses)},
            widths={pid: width for pid, width in self.widths.items() if pid in self.masses},
        )

    def bsm_pids(self) -> tuple[int, ...]:
        """Return the particles without the lightest one, in increasing order."""
        return tuple(sorted(pid for pid in self.masses if pid != LBP_PID))

    def add_particle(self, rng: np.random.Generator, pid: int, mass: float, br_spread: float) -> None:
        """Unfreeze a particle with first branching ratios; its new production pairs start at multiplier 1."""
        self.masses[pid] = mass
        self.branching_ratios[pid] = draw_branching_ratios(rng, pid, self, br_spread)
        for pair in production_pairs(self.masses):
            self.ssms.setdefault(pair, DEFAULT_SSM)

    def drop_particle(self, pid: int) -> None:
        """Freeze a particle: its mass, decays and multipliers go; decays into it are repaired by `settle_decays`."""
        self.masses.pop(pid, None)
        self.widths.pop(pid, None)
        self.branching_ratios.pop(pid, None)
        self.ssms = {pair: ssm for pair, ssm in self.ssms.items() if pid not in (abs(pair[0]), abs(pair[1]))}


def draw_branching_ratios(rng: np.random.Generator, pid: int, draft: Draft, br_spread: float) -> dict[Daughters, float]:
    """Return first branching ratios of a particle.

    Off shell they are the democratic mix of real Z and W bosons. On shell each of the k groups of open channels draws
    max(0, N(1/k, sqrt(br_spread/k))), arXiv:2012.12246 Sec. 4.1 (and its code for the width); if all are zero one takes
    everything.

    Args:
        rng: source of randomness.
        pid: positive PDG id.
        draft: the model, the particle's mass included.
        br_spread: variance of a draw times k [1].

    Returns:
        Branching ratios that sum to one; empty if no channel is open.
    """
    if is_off_shell(pid, draft.masses, draft.table):
        return off_shell_branching_ratios(pid, draft.masses, draft.table)
    groups = group_channels(pid, draft.masses, draft.table)
    if not groups:
        return {}
    num_groups = len(groups)
    values = np.maximum(0.0, rng.normal(1.0 / num_groups, math.sqrt(br_spread / num_groups), size=num_groups))
    if not values.any():
        values[int(rng.integers(num_groups))] = 1.0
    return share_among_members(groups, values)


def share_among_members(groups: tuple[tuple[Daughters, ...], ...], values: FloatArray) -> dict[Daughters, float]:
    """Return normalised branching ratios from one value per group; the members of a group share it equally."""
    total = math.fsum(values)
    return {
        daughters: float(value) / total / len(members)
        for members, value in zip(groups, values, strict=True)
        for daughters in members
        if value > 0.0
    }


def movable_groups(pid: int, draft: Draft) -> tuple[tuple[Daughters, ...], ...]:
    """Return the groups of open channels between which branching ratios may move.

    Off shell these are the three-body modes, and others only where the model already has them.
    """
    groups = group_channels(pid, draft.masses, draft.table)
    if not is_off_shell(pid, draft.masses, draft.table):
        return groups
    current = draft.branching_ratios.get(pid, {})
    modes = off_shell_branching_ratios(pid, draft.masses, draft.table)
    return tuple(group for group in groups if group[0] in modes or any(daughters in current for daughters in group))


def _share_groups(groups: tuple[tuple[Daughters, ...], ...], channels: dict[Daughters, float]) -> dict[Daughters, float]:
    """Return the branching ratios with each group's sum shared equally: a lepton channel that opens gets its part."""
    shared = dict(channels)
    for members in groups:
        values = [channels.get(daughters, 0.0) for daughters in members]
        if min(values) != max(values):
            shared.update(dict.fromkeys(members, math.fsum(values) / len(members)))
    return shared


def settle_decays(rng: np.random.Generator, draft: Draft, br_spread: float) -> tuple[int, ...]:
    """Repair the decays of all particles after masses or content changed; return the particles left without any channel.

    Closed channels go. What survives of a mother, a fraction f of its decays, is normalised to one and the multipliers
    of the mother are scaled by f (f^2 for pairs of it), so that σ·BR of every surviving channel stays what it was
    (arXiv:2012.12246 Sec. 4.1). If nothing survives, or the particle crosses between its on-shell and off-shell mode,
    there is nothing to keep: first branching ratios are drawn and the multipliers stay.

    Args:
        rng: source of randomness.
        draft: the model; changed in place.
        br_spread: variance of a first branching ratio times the number of open channels [1].

    Returns:
        Particles that no longer have an open channel, in increasing order; they are still in the draft.
    """
    remaining, survival = surviving_decays(draft.branching_ratios, draft.masses)
    stranded = []
    for mother in draft.bsm_pids():
        kept = remaining.get(mother, {})
        if kept and (mother in draft.was_off_shell) == is_off_shell(mother, draft.masses, draft.table):
            draft.branching_ratios[mother] = _share_groups(group_channels(mother, draft.masses, draft.table), kept)
            continue
        survival.pop(mother, None)
        draft.branching_ratios[mother] = draw_branching_ratios(rng, mother, draft, br_spread)
        if not draft.branching_ratios[mother]:
            stranded.append(mother)
    draft.ssms.update(compensated_ssms(draft.ssms, survival))
    return tuple(stranded)
