"""One mass, and the multiplier that keeps a production cross section at 13 TeV.

A particle and one of its processes that are on are picked; the mass moves by a symmetric step, and ln κ of the process's class by
ln σ_ref(before) - ln σ_ref(after). A shift of ln κ by a function of the masses has Jacobian 1. Choice: (pid, process, step [GeV],
incoming; None where the mass is impossible).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from builder.sampling.moves.mass import shifted
from builder.sampling.moves.protocol import Choice, Proposal, heavy_step, pick
from builder.sampling.moves.transfer import draw_incoming, list_changes, transfer
from builder.sampling.space import Space
from builder.sampling.state import OFF, SamplerState, build_state, processes_of
from inference.cross_sections import reference_xsec_fb
from inference.spectrum import PidPair

SQRTS_TEV = 13
"""The cross section that is kept."""


class MassConstantXsec:
    """One mass at constant cross section.

    Args:
        space: what is possible.
    """

    name = "mass_constant_xsec"
    reverse = "mass_constant_xsec"

    def __init__(self, space: Space) -> None:
        self._space = space
        self._decay = space.settings.proposals.channel_decay
        self.first_scale: float | None = space.settings.proposals.mass_scale_gev

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (pid, process, step, incoming); None where nothing is produced."""
        options = tuple((pid, process) for process, number in state.kappa_class.items() if number != OFF for pid in dict.fromkeys(process))
        if not options:
            return None
        pid, process = pick(rng, options)
        step = heavy_step(rng, scale)
        masses = shifted(state, (pid,), step)
        changes = list_changes(state, masses, self._space.channels) if self._space.has_room(masses) else None
        return pid, process, step, None if changes is None else draw_incoming(rng, changes, self._decay)

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with the mass moved and κ adjusted."""
        pid, process, step, incoming = choice
        if incoming is None:
            return None
        masses = shifted(state, (pid,), step)
        changes = list_changes(state, masses, self._space.channels)
        before, after = _log_xsec(process, state.masses), _log_xsec(process, masses)
        moved = None if changes is None else transfer(changes, incoming, self._decay)
        if moved is None or before is None or after is None:
            return None
        decays, outgoing, terms = moved
        number = state.kappa_class[process]
        kappas = tuple(kappa * math.exp(before - after) if index == number else kappa for index, kappa in enumerate(state.kappas))
        return Proposal(build_state(masses, decays, state.kappa_class, kappas), terms, (pid, process, -step, outgoing))


def _log_xsec(process: PidPair, masses: Mapping[int, float]) -> float | None:
    """ln of the reference cross section [fb] of a process, its sign variants together."""
    xsecs = [reference_xsec_fb(pair, masses, SQRTS_TEV) for pair in processes_of(tuple(masses))[process]]
    total = math.fsum(xsec for xsec in xsecs if xsec is not None)
    return math.log(total) if total > 0.0 else None
