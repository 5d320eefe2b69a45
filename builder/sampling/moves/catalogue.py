"""All moves of the sampler, with their weights.

A family is picked with its weight, then a move of it and its reverse with half each, so a move is tried as often as its reverse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from builder.sampling.moves.birth_death import Birth, Death
from builder.sampling.moves.br_exchange import BrExchange
from builder.sampling.moves.br_open_close import BrClose, BrOpen
from builder.sampling.moves.br_walk import BrWalk
from builder.sampling.moves.constant_xsec import MassConstantXsec
from builder.sampling.moves.independent import Independent
from builder.sampling.moves.kappa_copy_detach import KappaCopy, KappaDetach
from builder.sampling.moves.kappa_on_off import KappaOff, KappaOn
from builder.sampling.moves.kappa_scale import KappaClass, KappaParticle
from builder.sampling.moves.kappa_transfer import KappaTransfer
from builder.sampling.moves.mass import MassAll, MassOne, MassPair
from builder.sampling.moves.merge_split import Merge, Split
from builder.sampling.moves.protocol import Move
from builder.sampling.moves.swap import Swap
from builder.sampling.prior import Prior


class WeighedMove(NamedTuple):
    """A move with the probability that a step tries it."""

    move: Move
    probability: float


def build_families(prior: Prior) -> Mapping[str, tuple[Move, ...]]:
    """Return the moves per family, named as in `MoveWeights`; a family is closed under reversal."""
    space = prior.space
    return {
        "birth_death": (Birth(space), Death(space)),
        "merge_split": (Merge(space), Split(space)),
        "swap": (Swap(space),),
        "independent": (Independent(prior),),
        "mass_one": (MassOne(space),),
        "mass_pair": (MassPair(space),),
        "mass_all": (MassAll(space),),
        "mass_constant_xsec": (MassConstantXsec(space),),
        "br_walk": (BrWalk(space),),
        "br_open_close": (BrOpen(space), BrClose(space)),
        "br_exchange": (BrExchange(space),),
        "kappa_class": (KappaClass(space),),
        "kappa_particle": (KappaParticle(space),),
        "kappa_copy_detach": (KappaCopy(space), KappaDetach(space)),
        "kappa_transfer": (KappaTransfer(space),),
        "kappa_on_off": (KappaOn(space), KappaOff(space)),
    }


def build_catalogue(prior: Prior) -> tuple[WeighedMove, ...]:
    """Return the moves that the settings give a weight, with their probabilities; where every κ is 1, those that leave κ alone."""
    weights = prior.space.settings.weights.model_dump()
    if prior.space.is_susy_like:
        weights |= {family: 0.0 for family in weights if family.startswith("kappa") or family == "mass_constant_xsec"}
    total = sum(weights.values())
    return tuple(
        WeighedMove(move, weights[family] / total / len(moves))
        for family, moves in build_families(prior).items()
        if weights[family] > 0.0
        for move in moves
    )
