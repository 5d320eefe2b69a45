"""Merge: the simplified copy of a model, in which close partners have become one particle.

Published (arXiv:2012.12246 Sec. 4.1): as long as two particles of a merger group are closer than 200 GeV the closest
pair becomes one, at the mean mass, with the sum of both branching ratios (normalised) and the sum of both cross
sections; the copy is kept if its K is not lower.

The reference code multiplied the multiplier by σ_old/(σ_old + σ_partner), the inverse of what is meant, read a stale
loop variable, lost the signs of antiparticles, knew cross sections at leading order only (there are none), averaged
with the masses before the first merge, gave up where the partner with the larger PDG number was lighter, and dropped channels
of the partner that differ by flavour only.

Here the cross section of a merged process is the sum over all processes that become it, signs kept,
κ' σ_ref(m') = Σ κ σ_ref(m) at 13 TeV, for processes of the pair with each other too; a channel with another quark flavour
goes to its like (u X_Z of an X_u becomes d X_Z of an X_d). Channels closed at the new mass are compensated as anywhere.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from builder.decays import ChannelTable, Daughters, canonical_daughters, find_channel, is_open
from builder.moves.context import MoveContext
from builder.moves.draft import Draft, draw_branching_ratios, settle_decays, sort_pair
from builder.particles import is_bsm
from builder.protomodel import ProtoModel
from inference.cross_sections import production_pairs, reference_xsec_fb
from inference.spectrum import PidPair

MERGE_SQRTS_TEV = 13
"""Centre-of-mass energy [TeV] at which cross sections add up; at 8 TeV they do to the extent that ratios agree."""


def merge(rng: np.random.Generator, protomodel: ProtoModel, context: MoveContext) -> ProtoModel | None:
    """Build the simplified copy.

    Args:
        rng: source of randomness (for particles that need new branching ratios).
        protomodel: the model; left as it is.
        context: settings.

    Returns:
        The copy with fewer particles; None if no two particles can be merged.
    """
    if not context.settings.merge.is_enabled:
        return None
    merged = protomodel
    while True:
        for keep, gone in list_close_pairs(merged, context):
            candidate = merge_pair(rng, merged, keep, gone, context)
            if candidate is not None:
                merged = candidate
                break
        else:
            return None if merged is protomodel else context.settings.pool.restrict(merged)


def list_close_pairs(protomodel: ProtoModel, context: MoveContext) -> list[tuple[int, int]]:
    """Return pairs (smaller pid, larger pid) of a merger group closer than the limit, closest first."""
    masses = protomodel.masses
    pairs = [
        (abs(masses[a] - masses[b]), a, b)
        for group in context.pool.merger_groups.values()
        for a, b in combinations(sorted(pid for pid in group if pid in masses), 2)
    ]
    return [(a, b) for gap, a, b in sorted(pairs) if gap < context.settings.merge.max_mass_gap_gev]


def merge_pair(rng: np.random.Generator, protomodel: ProtoModel, keep: int, gone: int, context: MoveContext) -> ProtoModel | None:
    """Merge one pair into the particle `keep`.

    Args:
        rng: source of randomness (for particles that need new branching ratios).
        protomodel: the model; left as it is.
        keep: positive PDG id of the particle that stays, at the mean mass.
        gone: positive PDG id of the particle that goes.
        context: settings.

    Returns:
        The merged model; None where the mean mass is in the corridor, breaks the ordering, or leaves a particle without channel.
    """
    rules = context.settings.rules
    old = Draft.from_protomodel(protomodel, context.pool.channels)
    draft = Draft.from_protomodel(protomodel, context.pool.channels)
    draft.masses[keep] = 0.5 * (old.masses[keep] + old.masses[gone])
    draft.drop_particle(gone)
    if rules.find_violation(draft.masses) is not None and rules.find_violation(old.masses) is None:
        return None
    draft.ssms = _add_cross_sections(old, draft.masses, keep, gone, context.settings.ssm_cap)
    for mother in draft.bsm_pids():
        if mother != keep:
            draft.branching_ratios[mother] = _redirect(mother, old.branching_ratios.get(mother, {}), keep, gone, draft.table)
    draft.branching_ratios[keep] = _add_branching_ratios(rng, old, draft, keep, gone, context)
    if settle_decays(rng, draft, context.settings.birth.br_spread):
        return None
    return draft.freeze()


def _add_cross_sections(old: Draft, masses: dict[int, float], keep: int, gone: int, cap: float) -> dict[PidPair, float]:
    """Return the multipliers after the merge: κ' = Σ κ σ_ref(old masses) / σ_ref(new masses), signs kept."""

    def renamed(pid: int) -> int:
        return int(math.copysign(keep, pid)) if abs(pid) == gone else pid

    totals: dict[PidPair, float] = {}
    for pair, kappa in old.ssms.items():
        target = sort_pair(renamed(pair[0]), renamed(pair[1]))
        totals[target] = totals.get(target, 0.0) + kappa * (reference_xsec_fb(pair, old.masses, MERGE_SQRTS_TEV) or 0.0)
    ssms: dict[PidPair, float] = {}
    for pair in production_pairs(masses):
        if keep not in (abs(pair[0]), abs(pair[1])):
            ssms[pair] = old.ssms[pair]
            continue
        reference = reference_xsec_fb(pair, masses, MERGE_SQRTS_TEV)
        ssms[pair] = min(cap, totals.get(pair, 0.0) / reference) if reference else old.ssms.get(pair, 1.0)
    return ssms


def _find_like(mother: int, daughters: Daughters, table: ChannelTable) -> Daughters | None:
    """Return the mother's own channel with the same new particles and as many others, the same flavours preferred."""
    wanted = canonical_daughters(mother, daughters)
    if any(channel.daughters == wanted for channel in table.get(mother, ())):
        return wanted
    bsm = sorted(abs(pid) for pid in daughters if is_bsm(pid))
    bosons = sorted(abs(pid) for pid in daughters if abs(pid) in (21, 23, 24, 25))
    for channel in table.get(mother, ()):
        own_bosons = sorted(abs(pid) for pid in channel.daughters if abs(pid) in (21, 23, 24, 25))
        if sorted(channel.bsm) == bsm and len(channel.daughters) == len(daughters) and own_bosons == bosons:
            return channel.daughters
    return None


def _redirect(mother: int, channels: dict[Daughters, float], keep: int, gone: int, table: ChannelTable) -> dict[Daughters, float]:
    """Return a mother's branching ratios with decays into `gone` counted as decays into `keep`; what has no like stays closed."""
    redirected: dict[Daughters, float] = {}
    for daughters, br in channels.items():
        target: Daughters | None = daughters
        if any(abs(pid) == gone for pid in daughters):
            renamed = tuple(int(math.copysign(keep, pid)) if abs(pid) == gone else pid for pid in daughters)
            target = _find_like(mother, renamed, table)
        key = daughters if target is None else target
        redirected[key] = redirected.get(key, 0.0) + br
    return redirected


def _add_branching_ratios(
    rng: np.random.Generator, old: Draft, draft: Draft, keep: int, gone: int, context: MoveContext
) -> dict[Daughters, float]:
    """Return the normalised sum of both particles' branching ratios over the channels open for `keep`."""
    total: dict[Daughters, float] = {}
    for mother in (keep, gone):
        for daughters, br in old.branching_ratios.get(mother, {}).items():
            if any(abs(pid) in (keep, gone) for pid in daughters):
                continue
            like = _find_like(keep, daughters, draft.table)
            channel = None if like is None else find_channel(keep, like)
            if channel is not None and is_open(channel, draft.masses):
                total[channel.daughters] = total.get(channel.daughters, 0.0) + br
    norm = math.fsum(total.values())
    if norm <= 0.0:
        return draw_branching_ratios(rng, keep, draft, context.settings.birth.br_spread)
    return {daughters: br / norm for daughters, br in total.items()}
