"""Teleport: a walk that is far behind jumps to a stored hiscore.

Published: off by default (and in the final runs of arXiv:2012.12246). Entry i of a hiscore list of length L, 0 being the
best, is chosen with weight 2^(L-1-i), with probability 0.5 (1 - exp((K - K_best)/10)), K at least -2, where the best
known K is at least 1 and above the walk's own. The reference code took as best K that of the last inserted model; here it
is the largest one.
"""

from __future__ import annotations

import math

import numpy as np

from builder.moves.context import MoveContext
from builder.moves.settings import TeleportSettings
from builder.protomodel import ProtoModel


def teleport_probability(k: float, best_k: float, settings: TeleportSettings) -> float:
    """Return the probability of a jump, 0 unless the best hiscore is worth it.

    Examples:
        >>> round(teleport_probability(0.0, 10.0, TeleportSettings()), 3), teleport_probability(5.0, 4.0, TeleportSettings())
        (0.316, 0.0)
    """
    if best_k < settings.min_best_k or k >= best_k:
        return 0.0
    return settings.max_probability * -math.expm1((max(k, settings.k_floor) - best_k) / settings.k_scale)


def teleport(rng: np.random.Generator, protomodel: ProtoModel, context: MoveContext) -> ProtoModel | None:
    """Return a stored hiscore, with the probability of `teleport_probability`; None if the walk stays.

    Args:
        rng: source of randomness.
        protomodel: the model of the walk; left as it is.
        context: settings, step, K of the walk, and the hiscores.
    """
    settings = context.settings.teleport
    if not settings.is_enabled or not context.hiscores:
        return None
    if settings.last_step is not None and context.step > settings.last_step:
        return None
    ranked = sorted(context.hiscores, key=lambda entry: (-entry[1], entry[0].content_hash))
    if rng.random() >= teleport_probability(context.k, ranked[0][1], settings):
        return None
    weights = 2.0 ** -np.arange(len(ranked), dtype=float)
    target = ranked[int(rng.choice(len(ranked), p=weights / weights.sum()))][0]
    return None if target.content_hash == protomodel.content_hash else target
