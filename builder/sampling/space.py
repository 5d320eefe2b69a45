"""Which states are possible: contents, mass intervals, and the order in which the prior draws masses.

Walk: particle rules ──▶ **space** ──▶ prior, moves. Masses are drawn one after the other, each from the interval that those
before it leave, so that the density of any content is normalised in closed form:

- X_Z^1 between the smallest mass of the rules and `max_lbp_mass_gev`;
- then the others, those that can decay to X_Z^1 at the smallest gap first, lighter partners before heavier ones. A particle is
  heavier than X_Z^1, its wall, its lighter partner, and its lowest decay threshold given the particles before it, so that it always
  has an open channel; it is not in the corridor; it is lighter than the largest mass of the rules.

Decays into particles later in the order never lower that threshold: such a daughter is itself heavy enough.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from builder.decays import CHANNELS, DecayChannel
from builder.particle_rules import ParticleRules
from builder.particles import POOL_PIDS
from builder.sampling.settings import SamplingSettings
from database.errors import ConfigError
from inference.spectrum import LBP_PID

MIN_ROOM_GEV = 50.0
"""Smallest width [GeV] of the mass interval the settings must leave to every particle."""


class MassInterval(tuple[tuple[float, float], ...]):
    """Allowed masses [GeV]: one or two disjoint intervals, increasing."""

    __slots__ = ()

    @property
    def length(self) -> float:
        """Return the summed length [GeV]."""
        return math.fsum(high - low for low, high in self)

    def contains(self, mass: float) -> bool:
        """Return whether a mass [GeV] is allowed."""
        return any(low < mass <= high for low, high in self)

    def rank(self, mass: float) -> float:
        """Return which fraction of the allowed length lies below a mass [GeV]: uniform between 0 and 1 under the prior."""
        return math.fsum(min(max(mass - low, 0.0), high - low) for low, high in self) / self.length

    def at(self, rank: float) -> float:
        """Return the mass [GeV] below which the given fraction of the allowed length lies."""
        rest = rank * self.length
        for low, high in self[:-1]:
            if rest <= high - low:
                return low + rest
            rest -= high - low
        low, high = self[-1]
        return min(high, low + rest)


@dataclass(frozen=True)
class Space:
    """The possible states under some rules and settings.

    Attributes:
        settings: of the sampler.
        rules: mass rules, shared with the walk.
        forbidden: positive PDG ids that never join.

    Raises:
        ConfigError: the settings leave some particle no room.
    """

    settings: SamplingSettings
    rules: ParticleRules
    forbidden: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self._check_room()

    @cached_property
    def pool(self) -> tuple[int, ...]:
        """Return the particles that may join X_Z^1, increasing; those whose lighter partner may not are left out."""
        wanted = set(self.settings.particles or (pid for pid in POOL_PIDS if pid != LBP_PID)) - self.forbidden
        while True:
            orphans = {heavier for lighter, heavier in self.rules.ordered_pairs if heavier in wanted and lighter not in wanted}
            if not orphans:
                return tuple(sorted(wanted))
            wanted -= orphans

    @cached_property
    def max_others(self) -> int:
        """Return the largest number of particles beside X_Z^1."""
        limit = self.settings.max_particles
        return len(self.pool) if limit is None else min(len(self.pool), limit - 1)

    @cached_property
    def mass_order(self) -> tuple[int, ...]:
        """Return X_Z^1 and the pool in the order in which the prior draws masses."""
        rest = sorted(self.pool, key=lambda pid: (direct_gap(pid), pid))
        placed: list[int] = []
        while rest:
            free = (pid for pid in rest if not any(h == pid and light in rest for light, h in self.rules.ordered_pairs))
            pid = next(free, None)
            if pid is None:
                raise ConfigError("walk.rules.ordered_pairs: the pairs form a circle.")
            placed.append(pid)
            rest.remove(pid)
        return (LBP_PID, *placed)

    def is_possible(self, content: frozenset[int]) -> bool:
        """Return whether a set of particles beside X_Z^1 is possible."""
        if len(content) > self.max_others or not content.issubset(self.pool):
            return False
        return all(lighter in content for lighter, heavier in self.rules.ordered_pairs if heavier in content)

    def can_add(self, pid: int, content: Mapping[int, float]) -> bool:
        """Return whether a particle may join a content (X_Z^1 included)."""
        if pid in content or pid not in self.pool or len(content) - 1 >= self.max_others:
            return False
        return self.rules.particle_to_add(pid, content) == pid

    def can_remove(self, pid: int, content: Mapping[int, float]) -> bool:
        """Return whether a particle may leave a content (X_Z^1 included)."""
        return self.rules.can_remove(pid, content)

    def mass_interval(self, pid: int, masses: Mapping[int, float]) -> MassInterval:
        """Return the masses the prior allows a particle next to those that come before it in the order.

        Args:
            pid: positive PDG id.
            masses: masses [GeV] of the model; only particles before `pid` count.
        """
        rules = self.rules
        if pid == LBP_PID:
            return MassInterval(((rules.min_lbp_mass_gev, self.settings.max_lbp_mass_gev),))
        lbp_mass = masses[LBP_PID]
        low = max(lbp_mass, rules.walls_gev.get(pid, 0.0), _lowest_threshold(pid, masses, self._earlier[pid]))
        for lighter, heavier in rules.ordered_pairs:
            if heavier == pid and lighter in masses:
                low = max(low, masses[lighter])
        high = rules.max_mass_gev
        if pid not in rules.corridor_pids:
            return MassInterval(((low, high),)) if low < high else MassInterval()
        start = max(low, lbp_mass + rules.corridor_min_gap_gev)
        stop = min(high, lbp_mass + rules.corridor_max_gap_gev, rules.corridor_max_mass_gev)
        if start >= stop:
            return MassInterval(((low, high),)) if low < high else MassInterval()
        return MassInterval((a, b) for a, b in ((low, start), (stop, high)) if a < b)

    def has_room(self, masses: Mapping[int, float]) -> bool:
        """Return whether every mass [GeV] is in its interval."""
        return all(self.mass_interval(pid, masses).contains(mass) for pid, mass in masses.items())

    @cached_property
    def _earlier(self) -> dict[int, frozenset[int]]:
        return {pid: frozenset(self.mass_order[:position]) for position, pid in enumerate(self.mass_order)}

    def possible_contents(self) -> tuple[frozenset[int], ...]:
        """Return all possible sets of particles beside X_Z^1; for small pools."""
        sets = (frozenset(some) for size in range(self.max_others + 1) for some in itertools.combinations(self.pool, size))
        return tuple(some for some in sets if self.is_possible(some))

    def content_counts(self) -> tuple[int, ...]:
        """Return the number of possible contents per number of particles beside X_Z^1, 0 up to `max_others`."""
        counts = [1]
        for block in _blocks(self.pool, self.rules.ordered_pairs):
            counts = [int(c) for c in np.convolve(np.array(counts, dtype=object), np.array(_block_counts(block, self.rules.ordered_pairs)))]
        return tuple(counts[: self.max_others + 1])

    def _check_room(self) -> None:
        rules, top = self.rules, self.rules.max_mass_gev
        if not rules.min_lbp_mass_gev < self.settings.max_lbp_mass_gev:
            raise ConfigError("sampling.max_lbp_mass_gev is not above the smallest mass of X_Z^1.")
        for pid in self.pool:
            need = max(self.settings.max_lbp_mass_gev + direct_gap(pid), rules.walls_gev.get(pid, 0.0)) + MIN_ROOM_GEV
            if need > top:
                raise ConfigError(f"sampling.max_lbp_mass_gev: particle {pid} needs room up to {need:g} GeV, the rules end at {top:g} GeV.")


@lru_cache(maxsize=256)
def direct_gap(pid: int) -> float:
    """Return the smallest mass difference [GeV] to X_Z^1 at which a particle decays to it directly.

    Examples:
        >>> direct_gap(1000006), direct_gap(1000024)
        (173.0, 0.0)
    """
    return min(channel.sm_mass for channel in _own_channels(pid) if channel.bsm == (LBP_PID,))


@lru_cache(maxsize=256)
def _own_channels(pid: int) -> tuple[DecayChannel, ...]:
    return tuple(channel for channel in CHANNELS[pid] if channel.bsm)


def _lowest_threshold(pid: int, masses: Mapping[int, float], earlier: frozenset[int]) -> float:
    """Return the mass [GeV] above which a particle has an open channel into particles before it."""
    lowest = math.inf
    for channel in _own_channels(pid):
        threshold = channel.sm_mass
        for daughter in channel.bsm:
            threshold += masses[daughter] if daughter in earlier and daughter in masses else math.inf
        lowest = min(lowest, threshold)
    return lowest


def _blocks(pool: tuple[int, ...], pairs: tuple[tuple[int, int], ...]) -> list[tuple[int, ...]]:
    """Return the pool in blocks that no ordered pair connects."""
    blocks = [{pid} for pid in pool]
    for lighter, heavier in pairs:
        touched = [block for block in blocks if lighter in block or heavier in block]
        if len(touched) > 1:
            blocks = [block for block in blocks if block not in touched] + [set().union(*touched)]
    return [tuple(sorted(block)) for block in blocks]


def _block_counts(block: tuple[int, ...], pairs: tuple[tuple[int, int], ...]) -> list[int]:
    """Return the number of subsets of a block that keep the ordering, per size."""
    counts = [0] * (len(block) + 1)
    for size in range(len(block) + 1):
        for some in itertools.combinations(block, size):
            counts[size] += all(lighter in some for lighter, heavier in pairs if heavier in some)
    return counts
