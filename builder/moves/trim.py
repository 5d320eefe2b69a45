"""Trim: particles that the best combination does not see leave the model, before the random changes of a step.

Published (arXiv:2012.12246 Sec. 4.1): particles that contribute to no prediction of the best combination are removed.
In the reference code the removal was undone when the step was rejected, which is kept: the trimmed model is a proposal.

Here a particle contributes when it occurs as mother, intermediate or final state of a member's topologies. Heavy
partners are looked at first, so that a pair without use goes completely; one particle besides X_Z^1 always stays.
"""

from __future__ import annotations

import numpy as np

from builder.moves.context import MoveContext
from builder.moves.death import remove_particle
from builder.protomodel import ProtoModel
from inference.spectrum import LBP_PID


def trim(rng: np.random.Generator, protomodel: ProtoModel, context: MoveContext) -> ProtoModel | None:
    """Remove every particle that contributes to no member of the best combination.

    Args:
        rng: source of randomness (for particles that need new branching ratios).
        protomodel: the model the combination belongs to; left as it is.
        context: settings and the particles that contribute.

    Returns:
        The smaller model; None if there is no combination or nothing to remove.
    """
    if not context.settings.trim.is_enabled or not context.contributing_pids:
        return None
    trimmed = protomodel
    idle = {pid for pid in protomodel.masses if pid != LBP_PID and pid not in context.contributing_pids}
    for pid in sorted(idle, key=lambda p: (protomodel.masses[p], p), reverse=True):
        if pid in trimmed.masses and len(trimmed.masses) > 2:
            smaller = remove_particle(rng, trimmed, pid, context)
            trimmed = trimmed if smaller is None else smaller
    return None if trimmed is protomodel else trimmed
