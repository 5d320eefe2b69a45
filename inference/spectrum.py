"""What the predictions need to know of a model: masses, decays, production cross sections.

Walk: protomodel ──▶ **spectrum** ──▶ topologies ──▶ predictions. A Spectrum knows nothing of signal strength
multipliers or priors; `builder.protomodel.ProtoModel.spectrum()` makes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LBP_PID = 1000022
"""Lightest BSM particle X_Z^1: stable, invisible, always present."""

Decay = tuple[tuple[int, ...], float]
"""(signed daughter PDG ids, branching ratio) of one channel of the positive-pid mother."""

PidPair = tuple[int, int]
"""Sorted pair of signed PDG ids, smaller number first."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Particles, decays and production of one model.

    Attributes:
        masses: mass [GeV] per positive PDG id; a particle that is not listed does not exist.
        decays: channels per positive PDG id. Antiparticles decay to the conjugate final state; a self-conjugate
            mother lists both charge modes. A particle without channels is stable.
        xsecs_fb: production cross section [fb] per √s [TeV] (8 or 13) and sorted signed pid pair.
        widths: total width [GeV] per positive PDG id; empty for promptly decaying models.
    """

    masses: Mapping[int, float]
    decays: Mapping[int, tuple[Decay, ...]]
    xsecs_fb: Mapping[int, Mapping[PidPair, float]]
    widths: Mapping[int, float] = field(default_factory=dict)
