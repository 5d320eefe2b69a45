"""Branching ratios: one particle's decays change.

Published (arXiv:2012.12246 Sec. 4.1): one particle with at least two open channels is chosen; seldom a single channel
takes everything, else each channel moves by a flat step of half width 0.1 over the number of open channels, or is
closed. Open channels at zero can come back. Multipliers are not touched.

The reference code used 0.1/sqrt(k) for the half width (a setting here), and divided the new value of a group of lepton
channels by its size although the old value was per channel, so that leptons shrank threefold with each change.
Here a group moves as a whole and its members share it equally.
"""

from __future__ import annotations

import math

import numpy as np

from builder.moves.context import MoveContext
from builder.moves.draft import Draft, movable_groups, share_among_members
from builder.moves.settings import BranchingRatioSettings
from builder.protomodel import ProtoModel

MIN_PARTICLES = 3
"""Published: branching ratios change only in models with two particles besides X_Z^1."""


def step_half_width(num_channels: int, settings: BranchingRatioSettings) -> float:
    """Return the half width a of the flat step for a particle with the given number of open channels.

    Examples:
        >>> step_half_width(4, BranchingRatioSettings()), step_half_width(4, BranchingRatioSettings(step_scaling="1/sqrt(k)"))
        (0.025, 0.05)
    """
    scale = num_channels if settings.step_scaling == "1/k" else math.sqrt(num_channels)
    return settings.max_step / scale


def branching_ratio(rng: np.random.Generator, protomodel: ProtoModel, context: MoveContext) -> ProtoModel | None:
    """Change the branching ratios of one random particle, with the probability of the settings.

    Args:
        rng: source of randomness.
        protomodel: the model; left as it is.
        context: settings.

    Returns:
        The changed model; None if nothing changes.
    """
    settings = context.settings.branching_ratio
    if rng.random() >= settings.probability or len(protomodel.masses) < MIN_PARTICLES:
        return None
    draft = Draft.from_protomodel(protomodel, context.pool.channels)
    choices = [(pid, groups) for pid in draft.bsm_pids() if len(groups := movable_groups(pid, draft)) > 1]
    if not choices:
        return None
    pid, groups = choices[int(rng.integers(len(choices)))]
    num_groups = len(groups)
    values = np.zeros(num_groups)
    if rng.random() >= settings.single_channel_probability:
        current = draft.branching_ratios.get(pid, {})
        half_width = step_half_width(num_groups, settings)
        for index, members in enumerate(groups):
            old = math.fsum(current.get(daughters, 0.0) for daughters in members)
            if old > 0.0 and rng.random() < settings.close_probability:
                continue
            values[index] = rng.uniform(max(0.0, old - half_width), min(1.0, old + half_width))
    if not values.any():
        values[int(rng.integers(num_groups))] = 1.0
    draft.branching_ratios[pid] = share_among_members(groups, values)
    return draft.freeze()
