"""Random protomodels for property tests: any particles of the pool, open channels only, soft gaps and degenerate masses included."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from builder.decays import open_channels
from builder.particles import POOL_PIDS
from builder.protomodel import ProtoModel
from inference.cross_sections import production_pairs
from inference.spectrum import LBP_PID

OTHERS = tuple(pid for pid in POOL_PIDS if pid != LBP_PID)
SPECIAL_MASSES = (200.0, 300.0, 305.0, 309.9, 310.0, 400.0, 500.0)
"""Masses that make degenerate pairs and gaps around the compression's 10 GeV likely [GeV]."""


@st.composite
def random_models(draw: st.DrawFn, max_particles: int = 5, with_widths: bool = True) -> ProtoModel:
    """Draw a legal model whose predictions are worth testing: light enough to be produced.

    Args:
        draw: of hypothesis.
        max_particles: most particles beside the lightest one.
        with_widths: whether some of them may be long-lived.
    """
    lbp_mass = draw(st.one_of(st.just(100.0), st.floats(1.0, 300.0)))
    pids = draw(st.lists(st.sampled_from(OTHERS), unique=True, min_size=1, max_size=max_particles))
    above = st.floats(lbp_mass, 1200.0)
    special = st.sampled_from([mass for mass in SPECIAL_MASSES if mass >= lbp_mass])
    masses = {LBP_PID: lbp_mass, **{pid: draw(st.one_of(above, special)) for pid in pids}}
    branching_ratios = {}
    for pid in pids:
        channels = open_channels(pid, masses)
        chosen = draw(st.lists(st.sampled_from(channels), unique=True, min_size=1, max_size=4)) if channels else []
        weights = [draw(st.floats(0.01, 1.0)) for _ in chosen]
        branching_ratios[pid] = {channel: weight / math.fsum(weights) for channel, weight in zip(chosen, weights, strict=True)}
    pairs = production_pairs(masses)
    chosen_pairs = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=6)) if pairs else []
    ssms = {pair: draw(st.floats(0.0, 100.0)) for pair in chosen_pairs}
    slow = draw(st.lists(st.sampled_from(pids), unique=True, max_size=2)) if with_widths else []
    widths = {pid: 10.0 ** draw(st.floats(-27.0, -9.0)) for pid in slow}
    return ProtoModel(masses, branching_ratios, ssms, widths=widths)
