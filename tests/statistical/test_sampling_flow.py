"""One step of every move leaves the prior as it is; steps with a wrong sign or a dropped term do not.

States are exact draws from the prior, so that no autocorrelation blurs the comparison: for an invariant distribution the mean
change of every test function, weighed with the acceptance probability, is zero within its standard error. A mutant is switched on by
multiplying one term of the log ratio of a move and of its reverse by 0 (dropped) or -1 (wrong sign).
"""

from __future__ import annotations

import math
import os
from functools import lru_cache

import numpy as np
import pytest

from builder.decays import CHANNELS
from builder.sampling.counting import channel_set_counts
from builder.sampling.moves.protocol import RatioTerms
from builder.sampling.moves.transfer import draw_incoming, list_changes, transfer
from builder.sampling.settings import MoveWeights
from builder.sampling.state import available_groups, build_state
from inference.spectrum import LBP_PID
from inference.types import FloatArray
from tests.sampling_toys import X1W, X2Z, XB, XG, XT, Flow, family_prior, measure_flow, mutate_terms

SEED = int(os.environ.get("PROTOMODELS_TEST_SEED", "1"))
MAX_PULL = 4.0
"""Largest of about 30 correlated pulls of a right move."""
MIN_PULL = 5.0
"""Smallest of the largest pulls of a mutant."""
FAMILIES = tuple(MoveWeights.model_fields)

QUICK_MUTANTS = (
    ("birth_death", "selection", 0.0), ("birth_death", "density", 0.0), ("birth_death", "density", -1.0),
    ("merge_split", "density", 0.0), ("independent", "density", 0.0), ("br_walk", "density", -1.0),
    ("br_open_close", "selection", -1.0), ("kappa_copy_detach", "selection", -1.0), ("kappa_copy_detach", "density", 0.0),
    ("kappa_on_off", "density", 0.0), ("kappa_on_off", "selection", -1.0),
)  # fmt: skip
SLOW_MUTANTS = (
    ("birth_death", "selection", -1.0), ("merge_split", "selection", 0.0), ("merge_split", "selection", -1.0),
    ("merge_split", "density", -1.0), ("merge_split", "jacobian", 0.0), ("merge_split", "jacobian", -1.0),
    ("independent", "density", -1.0), ("mass_one", "selection", 0.0), ("mass_one", "selection", -1.0),
    ("mass_pair", "selection", 0.0), ("mass_pair", "selection", -1.0), ("mass_constant_xsec", "selection", 0.0),
    ("mass_constant_xsec", "selection", -1.0), ("br_walk", "density", 0.0), ("br_open_close", "selection", 0.0),
    ("br_open_close", "density", 0.0), ("br_open_close", "density", -1.0), ("br_open_close", "jacobian", 0.0),
    ("br_open_close", "jacobian", -1.0), ("kappa_copy_detach", "selection", 0.0), ("kappa_copy_detach", "density", -1.0),
    ("kappa_transfer", "selection", 0.0), ("kappa_transfer", "selection", -1.0), ("kappa_on_off", "selection", 0.0),
    ("kappa_on_off", "density", -1.0),
)  # fmt: skip


@lru_cache(maxsize=64)
def flow_of(family: str, num_draws: int) -> Flow:
    return measure_flow(family, num_draws, SEED)


def largest(pulls: FloatArray) -> float:
    return float(np.abs(pulls).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_leaves_the_prior_as_it_is(family: str) -> None:
    flow = flow_of(family, 1200)
    assert np.isfinite(flow.log_target).mean() > 0.1
    assert largest(flow.pulls(flow.terms)) < MAX_PULL


@pytest.mark.parametrize(("family", "term", "factor"), QUICK_MUTANTS)
def test_a_step_with_a_wrong_term_does_not(family: str, term: str, factor: float) -> None:
    flow = flow_of(family, 1200)
    assert largest(flow.pulls(mutate_terms(flow.terms, term, factor))) > MIN_PULL


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_leaves_the_prior_as_it_is_to_better_precision(family: str) -> None:
    flow = flow_of(family, 8000)
    assert largest(flow.pulls(flow.terms)) < MAX_PULL


@pytest.mark.slow
@pytest.mark.parametrize(("family", "term", "factor"), SLOW_MUTANTS)
def test_a_step_with_any_wrong_term_does_not(family: str, term: str, factor: float) -> None:
    flow = flow_of(family, 8000)
    assert largest(flow.pulls(mutate_terms(flow.terms, term, factor))) > MIN_PULL


TOGGLED = ({LBP_PID: 100.0, X1W: 205.0, X2Z: 200.0, XB: 330.0, XT: 320.0, XG: 340.0}, {XG: 560.0, XT: 470.0, X1W: 150.0})
"""Two spectra with the same particles that differ in the channels of most of them."""


@lru_cache(maxsize=2)
def toggle_flow(num_draws: int) -> Flow:
    """Decays at either of two spectra, drawn exactly; a step goes to the other spectrum with the decays transferred."""
    prior = family_prior("mass_one")
    rng = np.random.default_rng(SEED)
    spectra = (TOGGLED[0], {**TOGGLED[0], **TOGGLED[1]})
    change, log_target, terms = [], np.full(num_draws, -math.inf), np.zeros((num_draws, 3))
    for i in range(num_draws):
        side = int(rng.integers(2))
        masses, others = spectra[side], spectra[1 - side]
        state = build_state(masses, prior.draw_decays(rng, masses), {}, ())
        before = functions_of_decays(state.decays)
        changes = list_changes(state, others, CHANNELS)
        moved = None if changes is None else transfer(changes, draw_incoming(rng, changes, 2.0), 2.0)
        if moved is None:
            change.append([0.0] * (2 * len(before) + 1))
            continue
        new = build_state(others, moved[0], {}, ())
        log_target[i] = prior.log_decays(new) - prior.log_decays(state)
        terms[i] = moved[2]
        after = functions_of_decays(new.decays)
        # functions that live on one of the two spectra only
        change.append([*after, *(-value for value in before), 1.0] if side == 0 else [*(-value for value in before), *after, -1.0])
    return Flow(np.array(change), log_target, terms)


def functions_of_decays(decays: dict[int, dict[str, float]]) -> list[float]:
    return [
        1.0,
        *(
            value
            for pid in (XT, XB, XG)
            for value in (float(len(decays[pid])), max(decays[pid].values()), sum(b**2 for b in decays[pid].values()))
        ),
    ]


@pytest.mark.parametrize("num_draws", [1500, pytest.param(10000, marks=pytest.mark.slow)])
def test_decays_follow_a_change_of_the_spectrum_reversibly(num_draws: int) -> None:
    flow = toggle_flow(num_draws)
    assert {len(available_groups(XG, masses)) for masses in (TOGGLED[0], {**TOGGLED[0], **TOGGLED[1]})} == {11, 14}
    assert np.isfinite(flow.log_target).mean() > 0.5
    assert largest(flow.pulls(flow.terms)) < MAX_PULL


@pytest.mark.parametrize("term", RatioTerms._fields)
@pytest.mark.parametrize("factor", [0.0, -1.0], ids=["dropped", "wrong sign"])
def test_decays_that_follow_with_a_wrong_term_are_caught(term: str, factor: float) -> None:
    flow = toggle_flow(1500)
    assert largest(flow.pulls(mutate_terms(flow.terms, term, factor))) > MIN_PULL


def test_channel_sets_are_counted() -> None:
    assert sum(channel_set_counts((3, 4))) == (2**3 - 1) * (2**4 - 1)
