"""Light quarks, or lepton generations, exchange their roles.

X_q and X_q' exchange masses, decays (d ↔ their quark, and its weak partner) and multipliers; likewise the generations (X_e, X_ν_e),
(X_μ, X_ν_μ), (X_τ, X_ν_τ) as a whole. Where one of the two is frozen, the other becomes it. The exchange is its own inverse and only
renames coordinates. Choice: (index into `EXCHANGES`,).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from builder.decays import Daughters, canonical_daughters
from builder.sampling.moves.protocol import Choice, Proposal, RatioTerms, pick
from builder.sampling.space import Space
from builder.sampling.state import SamplerState, build_state, processes_of
from inference.spectrum import PidPair

_WEAK_PARTNER = {1: 2, 2: 1, 3: 4, 4: 3}
_CHARGED = frozenset({24, 1000024, 1000037})
_UP_TYPE = frozenset({2, 4})
_LIGHT_QUARKS = (1, 2, 3, 4)
_LEPTONS = (11, 13, 15)


class Exchange(NamedTuple):
    """One exchange of roles.

    Attributes:
        renamed: new positive PDG id per renamed particle of the pool.
        flavours: new positive PDG id of the Standard Model fermions, per renamed particle of the pool.
        flips_charge: whether the sign of W and X_W in its channels changes.
    """

    renamed: Mapping[int, int]
    flavours: Mapping[int, Mapping[int, int]]
    flips_charge: bool


def _exchange_quarks(first: int, second: int) -> Exchange:
    there = {first: second, _WEAK_PARTNER[first]: _WEAK_PARTNER[second]}
    back = {second: first, _WEAK_PARTNER[second]: _WEAK_PARTNER[first]}
    a, b = 1000000 + first, 1000000 + second
    return Exchange({a: b, b: a}, {a: there, b: back}, (first in _UP_TYPE) != (second in _UP_TYPE))


def _exchange_leptons(first: int, second: int) -> Exchange:
    there, back = {first: second, first + 1: second + 1}, {second: first, second + 1: first + 1}
    renamed = {1000000 + old: 1000000 + new for old, new in (there | back).items()}
    return Exchange(renamed, {pid: there if pid - 1000000 in there else back for pid in renamed}, False)


EXCHANGES: tuple[Exchange, ...] = (
    *(_exchange_quarks(*pair) for pair in itertools.combinations(_LIGHT_QUARKS, 2)),
    *(_exchange_leptons(*pair) for pair in itertools.combinations(_LEPTONS, 2)),
)
"""All exchanges: six pairs of light quarks, three pairs of lepton generations."""


def _renamed_daughters(exchange: Exchange, actor: int, daughters: Daughters) -> Daughters:
    flavours = exchange.flavours[actor]
    renamed = []
    for pid in daughters:
        sign, absolute = (1 if pid > 0 else -1), abs(pid)
        if exchange.flips_charge and absolute in _CHARGED:
            sign = -sign
        renamed.append(sign * exchange.renamed.get(absolute, flavours.get(absolute, absolute)))
    return tuple(renamed)


class Swap:
    """Two flavours exchange their roles.

    Args:
        space: what is possible.
    """

    name = "swap"
    reverse = "swap"
    first_scale = None

    def __init__(self, space: Space) -> None:
        self._channels = space.channels
        self._groups: dict[tuple[int, int, str], str | None] = {}
        self._allowed = tuple(index for index, some in enumerate(EXCHANGES) if all(pid in space.pool for pid in some.renamed))

    def options(self, state: SamplerState) -> tuple[int, ...]:
        """Return the exchanges that touch a particle of the state."""
        return tuple(index for index in self._allowed if any(pid in state.masses for pid in EXCHANGES[index].renamed))

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (index,); None where there is nothing to exchange."""
        options = self.options(state)
        return (pick(rng, options),) if options else None

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with exchanged roles."""
        (index,) = choice
        renamed = EXCHANGES[index].renamed
        masses = {renamed.get(pid, pid): mass for pid, mass in state.masses.items()}
        decays: dict[int, dict[str, float]] = {}
        for pid, groups in state.decays.items():
            names = {group: self._renamed(index, pid, group) for group in groups}
            decays[renamed.get(pid, pid)] = {name: groups[group] for group, name in names.items() if name is not None}
            if None in names.values():
                return None
        classes = {_renamed_process(process, renamed): number for process, number in state.kappa_class.items()}
        if classes.keys() != processes_of(tuple(sorted(masses))).keys():
            return None
        new = build_state(masses, decays, classes, state.kappas)
        selection = math.log(len(self.options(state))) - math.log(len(self.options(new)))
        return Proposal(new, RatioTerms(selection=selection), (index,))

    def _renamed(self, index: int, mother: int, group: str) -> str | None:
        """Return the group that a group of a mother's channels becomes; None where there is no such channel."""
        key = index, mother, group
        if key not in self._groups:
            self._groups[key] = self._rename(EXCHANGES[index], mother, group)
        return self._groups[key]

    def _rename(self, exchange: Exchange, mother: int, group: str) -> str | None:
        channel = next(channel for channel in self._channels[mother] if channel.group == group)
        new_mother = exchange.renamed.get(mother, mother)
        actor = next((pid for pid in (mother, *channel.bsm) if pid in exchange.renamed), None)
        if actor is None:
            return group
        wanted = canonical_daughters(new_mother, _renamed_daughters(exchange, actor, channel.daughters))
        return next((other.group for other in self._channels[new_mother] if other.daughters == wanted), None)


def _renamed_process(process: PidPair, renamed: Mapping[int, int]) -> PidPair:
    low, high = sorted(renamed.get(pid, pid) for pid in process)
    return low, high
