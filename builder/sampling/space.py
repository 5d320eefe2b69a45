"""Which states are possible: contents, mass intervals, and the order in which the prior draws masses.

Walk: particle rules ──▶ **space** ──▶ prior, moves. Masses are drawn one after the other, each from the interval that those
before it leave, so that the density of any content is normalised in closed form:

- X_Z^1 between the smallest mass of the rules and `max_lbp_mass_gev`;
- then the others, those that can decay to X_Z^1 at the smallest gap first, lighter partners before heavier ones. A particle is
  heavier than X_Z^1, its wall and its lighter partner, lighter than the largest mass of the rules, not in the corridor, and where one
  of its channels into X_Z^1 and the particles before it is open.

With the standard channels decays into particles later in the order never make more masses possible: such a daughter is itself heavy
enough.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from builder.decays import ChannelTable, DecayChannel, find_channel
from builder.particle_rules import ParticleRules
from builder.particles import particle_of
from builder.pool import STANDARD_POOL, Pool
from builder.protomodel import ProtoModel
from builder.sampling.settings import SamplingSettings
from builder.sampling.state import SamplerState
from database.errors import ConfigError
from inference.spectrum import LBP_PID, PidPair

MIN_ROOM_GEV = 50.0
"""Smallest width [GeV] of the mass interval the settings must leave to every particle."""


class MassInterval(tuple[tuple[float, float], ...]):
    """Allowed masses [GeV]: disjoint intervals, the lower end excluded, increasing."""

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

    def within(self, low: float, high: float) -> MassInterval:
        """Return the part between two masses [GeV]."""
        parts = ((max(low, a), min(high, b)) for a, b in self)
        return MassInterval((a, b) for a, b in parts if a < b)


def join_intervals(parts: Iterable[tuple[float, float]]) -> MassInterval:
    """Return the union of intervals.

    Examples:
        >>> join_intervals([(2.0, 3.0), (0.0, 1.0), (1.0, 1.5)])
        ((0.0, 1.5), (2.0, 3.0))
    """
    joined: list[tuple[float, float]] = []
    for low, high in sorted(parts):
        if joined and low <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], high)
        else:
            joined.append((low, high))
    return MassInterval(joined)


@dataclass(frozen=True, eq=False)
class Space:
    """The possible states under some rules and settings.

    Attributes:
        settings: of the sampler.
        rules: mass rules, shared with the walk.
        particles: particles and channels that may be used, shared with the walk.
        caps: largest κ per process (sorted pair of positive PDG ids), where it is below `kappa_max`.
        is_susy_like: whether every κ is 1.

    Raises:
        ConfigError: the settings leave some particle no room, or some process no κ.
    """

    settings: SamplingSettings
    rules: ParticleRules
    particles: Pool = STANDARD_POOL
    caps: Mapping[PidPair, float] = field(default_factory=dict)
    is_susy_like: bool = False

    def __post_init__(self) -> None:
        self._check_room()
        for process, cap in self.caps.items():
            if cap <= self.settings.kappa_min:
                raise ConfigError(f"walk.pool.ssm_caps: the cap {cap:g} of {process} is not above sampling.kappa_min.")

    @property
    def channels(self) -> ChannelTable:
        """Return the channels that may be used."""
        return self.particles.channels

    @cached_property
    def pool(self) -> tuple[int, ...]:
        """Return the particles that may join X_Z^1, increasing; those whose lighter partner may not are left out."""
        wanted = set(self.settings.particles or self.particles.pids) & set(self.particles.pids) - {LBP_PID}
        while True:
            orphans = {heavier for lighter, heavier in self.rules.ordered_pairs if heavier in wanted and lighter not in wanted}
            if not orphans:
                return tuple(sorted(wanted))
            wanted -= orphans

    def model_of(self, state: SamplerState) -> ProtoModel:
        """Return the protomodel of a state."""
        return state.to_protomodel(self.channels)

    def kappa_range(self, members: Iterable[PidPair]) -> tuple[float, float]:
        """Return the smallest and largest κ of a class with the given processes."""
        settings = self.settings
        if not self.caps:
            return settings.kappa_min, settings.kappa_max
        return settings.kappa_min, min((self.caps.get(process, settings.kappa_max) for process in members), default=settings.kappa_max)

    @cached_property
    def max_others(self) -> int:
        """Return the largest number of particles beside X_Z^1."""
        limit = self.settings.max_particles
        return len(self.pool) if limit is None else min(len(self.pool), limit - 1)

    @cached_property
    def mass_order(self) -> tuple[int, ...]:
        """Return X_Z^1 and the pool in the order in which the prior draws masses."""
        rest = sorted(self.pool, key=lambda pid: (self.direct_gap(pid), pid))
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
        high = min(rules.max_mass_gev, rules.ceilings_gev.get(pid, math.inf))
        low = rules.walls_gev.get(pid, 0.0)
        if pid == LBP_PID:
            return MassInterval(((max(rules.min_lbp_mass_gev, low), min(self.settings.max_lbp_mass_gev, high)),))
        lbp_mass = masses[LBP_PID]
        low = max(lbp_mass, low, *(masses[lighter] for lighter in self._lighter.get(pid, ()) if lighter in masses))
        allowed = self._decaying(pid, masses).within(low, high)
        if pid not in rules.corridor_pids:
            return allowed
        start = lbp_mass + rules.corridor_min_gap_gev
        stop = min(lbp_mass + rules.corridor_max_gap_gev, rules.corridor_max_mass_gev)
        return allowed if start >= stop else MassInterval((*allowed.within(0.0, start), *allowed.within(stop, math.inf)))

    def _decaying(self, pid: int, masses: Mapping[int, float]) -> MassInterval:
        """Return the masses [GeV] at which a particle has an open channel into X_Z^1 and particles before it."""
        earlier, parts, lowest = self._earlier[pid], [], math.inf
        for channel in self._decay_channels[pid]:
            threshold = channel.sm_mass
            for daughter in channel.bsm:
                threshold += masses[daughter] if daughter in earlier and daughter in masses else math.inf
            if threshold == math.inf:
                continue
            on_shell = None if channel.on_shell is None else find_channel(pid, channel.on_shell)
            if on_shell is None:
                lowest = min(lowest, threshold)
            else:
                parts.append((threshold, on_shell.sm_mass + math.fsum(masses[daughter] for daughter in on_shell.bsm)))
        if lowest < math.inf:
            parts.append((lowest, math.inf))
        return join_intervals(part for part in parts if part[0] < part[1])

    def has_room(self, masses: Mapping[int, float]) -> bool:
        """Return whether every mass [GeV] is in its interval."""
        return all(self.mass_interval(pid, masses).contains(mass) for pid, mass in masses.items())

    @cached_property
    def _earlier(self) -> dict[int, frozenset[int]]:
        return {pid: frozenset(self.mass_order[:position]) for position, pid in enumerate(self.mass_order)}

    @cached_property
    def _lighter(self) -> dict[int, tuple[int, ...]]:
        pairs = self.rules.ordered_pairs
        return {pid: tuple(lighter for lighter, heavier in pairs if heavier == pid) for pid in {heavier for _, heavier in pairs}}

    @cached_property
    def _decay_channels(self) -> dict[int, tuple[DecayChannel, ...]]:
        return {pid: tuple(channel for channel in self.channels[pid] if channel.bsm) for pid in self.pool}

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

    def direct_gap(self, pid: int) -> float:
        """Return the smallest mass difference [GeV] to X_Z^1 at which a particle decays to it directly; inf where it never does.

        Examples:
            >>> space = Space(SamplingSettings(), ParticleRules())
            >>> space.direct_gap(1000006), space.direct_gap(1000024)
            (173.0, 0.0)
        """
        return min((channel.sm_mass for channel in self.channels[pid] if channel.bsm == (LBP_PID,)), default=math.inf)

    def _check_room(self) -> None:
        rules, top = self.rules, self.mass_interval(LBP_PID, {})[0]
        if not top[0] < top[1]:
            raise ConfigError("sampling.max_lbp_mass_gev is not above the smallest mass of X_Z^1.")
        for pid in self.pool:
            name = particle_of(pid).name
            # an off-shell channel ends where its on-shell one opens, so it does not make heavier masses possible
            gaps = [channel.sm_mass for channel in self.channels[pid] if channel.bsm == (LBP_PID,) and channel.on_shell is None]
            if not gaps:
                raise ConfigError(f"sampling: {name} has no channel into X_Z^1 that stays open at all masses; allow one or leave it out.")
            need = max(top[1] + min(gaps), rules.walls_gev.get(pid, 0.0)) + MIN_ROOM_GEV
            ceiling = min(rules.max_mass_gev, rules.ceilings_gev.get(pid, math.inf))
            if need > ceiling:
                raise ConfigError(f"sampling.max_lbp_mass_gev: {name} needs room up to {need:g} GeV, but ends at {ceiling:g} GeV.")
            for lighter in self._lighter.get(pid, ()):
                if ceiling < min(rules.max_mass_gev, rules.ceilings_gev.get(lighter, math.inf)):
                    raise ConfigError(f"walk.rules.ceilings_gev: {name} may not have a lower ceiling than {particle_of(lighter).name}.")


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
