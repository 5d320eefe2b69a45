"""Signal strength multipliers: production cross sections of one particle or one process change.

Published (arXiv:2012.12246 Sec. 4.1): mostly "one particle" (all its processes are scaled by one factor; or one process
is switched off, set to one, or given the value of another), else "one process" (scaled by a factor around one; the code
behind the paper also adds a small positive number, which lets a process that is off come back).

The reference code went through the sign variants of a process once each and set all of them each time, so that the
factor f became f^3 for (p, p), f^2 for (p, X_Z^1) and f^4 for (p, q). It also chose among all conceivable pairs, most of
which have no cross section, so that most changes had no effect.

Here processes are sign classes {±p, ±q} that have a reference cross section, and the factor acts once on each
variant. The move needs two such classes, because the scale of a single one is fixed by mu_hat anyway (the reference code
asked for two particles besides X_Z^1, which left the three processes of a lone X_W^1 tied together).
"""

from __future__ import annotations

import numpy as np

from builder.moves.context import MoveContext
from builder.moves.draft import Draft, sign_classes
from builder.protomodel import ProtoModel
from inference.spectrum import LBP_PID, PidPair

Classes = dict[PidPair, tuple[PidPair, ...]]
"""Sign variants per sign class."""


def ssm(rng: np.random.Generator, protomodel: ProtoModel, context: MoveContext) -> ProtoModel | None:
    """Change signal strength multipliers, with the probability of the settings.

    Args:
        rng: source of randomness.
        protomodel: the model; left as it is.
        context: settings.

    Returns:
        The changed model, no multiplier above the cap; None if nothing changes.
    """
    settings = context.settings.ssm
    if rng.random() >= settings.probability:
        return None
    draft = Draft.from_protomodel(protomodel, context.pool.channels)
    classes = sign_classes(draft.masses)
    if len(classes) < 2:
        return None
    before = dict(draft.ssms)
    if rng.random() < settings.one_particle_probability:
        _change_particle(rng, draft, classes, context)
    else:
        _change_process(rng, draft, classes, context)
    cap = context.settings.ssm_cap
    draft.ssms = {pair: min(value, cap) for pair, value in draft.ssms.items()}
    return None if draft.ssms == before else draft.freeze()


def scale_particle(draft: Draft, pid: int, factor: float, classes: Classes) -> None:
    """Multiply each multiplier of a particle by the factor, once per sign variant; the draft is changed in place."""
    for key, variants in classes.items():
        if pid in key:
            for pair in variants:
                draft.ssms[pair] *= factor


def _change_particle(rng: np.random.Generator, draft: Draft, classes: Classes, context: MoveContext) -> None:
    """Switch one process off, reset it, copy another one, or (mostly) scale all processes of one particle."""
    settings = context.settings.ssm
    keys = list(classes)
    chosen = classes[keys[int(rng.integers(len(keys)))]]
    other = classes[keys[int(rng.integers(len(keys)))]]
    draw = rng.random()
    if draw < settings.knock_out_probability:
        draft.ssms.update(dict.fromkeys(chosen, settings.knock_out_value))
    elif draw < settings.knock_out_probability + settings.reset_probability:
        draft.ssms.update(dict.fromkeys(chosen, 1.0))
    elif draw < settings.knock_out_probability + settings.reset_probability + settings.copy_probability:
        draft.ssms.update(dict.fromkeys(chosen, draft.ssms[other[0]]))
    else:
        pids = sorted({pid for key in keys for pid in key} - {LBP_PID})
        pid = pids[int(rng.integers(len(pids)))]
        scale_particle(draft, pid, float(rng.uniform(1.0 - settings.factor_half_width, 1.0 + settings.factor_half_width)), classes)


def _change_process(rng: np.random.Generator, draft: Draft, classes: Classes, context: MoveContext) -> None:
    """Change one process without X_Z^1, drawn as if p and q were drawn independently: κ -> max(0, κ N(1, s) + N(m, s'))."""
    settings = context.settings.ssm
    keys = [key for key in classes if LBP_PID not in key]
    if not keys:
        return
    weights = np.array([1.0 if key[0] == key[1] else 2.0 for key in keys])
    key = keys[int(rng.choice(len(keys), p=weights / weights.sum()))]
    factor = float(rng.normal(1.0, settings.process_factor_sigma))
    shift = float(rng.normal(settings.process_shift_mean, settings.process_shift_sigma))
    for pair in classes[key]:
        draft.ssms[pair] = max(0.0, draft.ssms[pair] * factor + shift)
