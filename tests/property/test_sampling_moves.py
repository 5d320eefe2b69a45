"""Every move of the sampler: its reverse comes back and negates the log ratio; states survive every translation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from builder.protomodel import ProtoModel
from builder.sampling.moves.birth_death import Birth
from builder.sampling.moves.catalogue import build_catalogue, build_families
from builder.sampling.moves.protocol import Move, propose
from builder.sampling.moves.swap import EXCHANGES
from builder.sampling.prior import Prior
from builder.sampling.settings import Complexity
from builder.sampling.state import SamplerState, available_groups, state_from_protomodel
from database.errors import ModelFormatError
from inference.spectrum import LBP_PID
from tests.sampling_toys import XT, MutantMove, assert_same_state, build_prior, family_prior

PRIOR = build_prior(complexity=Complexity.PER_MODEL)
COMPACT = family_prior("mass_one")
NUM_STATES = 150


def moves_of(prior: Prior) -> dict[str, Move]:
    return {move.name: move for moves in build_families(prior).values() for move in moves}


def list_proposals(prior: Prior, name: str, move: Move, num_states: int, seed: int) -> list[tuple[SamplerState, object]]:
    """Admissible proposals of a move from random states."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(num_states):
        state = prior.draw(rng)
        proposal = propose(move, rng, state, move.first_scale or 1.0)
        if proposal is not None and prior.log_density(proposal.state) > -math.inf:
            found.append((state, proposal))
    return found


@pytest.mark.parametrize("prior", [PRIOR, COMPACT], ids=["whole pool", "compressed"])
@pytest.mark.parametrize("name", sorted(moves_of(PRIOR)))
def test_the_reverse_of_a_move_comes_back_and_negates_its_ratio(name: str, prior: Prior) -> None:
    moves = moves_of(prior)
    move = moves[name]
    assert moves[move.reverse].reverse == name
    proposals = list_proposals(prior, name, move, NUM_STATES, seed=1)
    assert proposals or (name == "swap" and prior is COMPACT)
    for state, proposal in proposals:
        back = moves[move.reverse].apply(proposal.state, proposal.reverse_choice)
        assert back is not None
        assert_same_state(back.state, state)
        assert back.log_ratio == pytest.approx(-proposal.log_ratio, abs=1e-7)
        for forward, reverse in zip(proposal.terms, back.terms, strict=True):
            assert reverse == pytest.approx(-forward, abs=1e-7)


@pytest.mark.parametrize("term", ["selection", "density", "jacobian"])
@pytest.mark.parametrize("factor", [0.0, -1.0], ids=["dropped", "wrong sign"])
@pytest.mark.parametrize("name", ["birth", "split", "br_open", "kappa_copy", "mass_one", "br_walk", "kappa_on"])
def test_a_wrong_term_on_one_side_is_caught_by_the_reverse(name: str, term: str, factor: float) -> None:
    moves = moves_of(COMPACT)
    reverse = moves[moves[name].reverse]
    proposals = list_proposals(COMPACT, name, moves[name], 60, seed=2)
    if not any(getattr(proposal.terms, term) for _, proposal in proposals):
        pytest.skip("the move has no such term")
    mutant = MutantMove(reverse, term, factor)
    backs = [(mutant.apply(proposal.state, proposal.reverse_choice), proposal) for _, proposal in proposals]
    assert max(abs(back.log_ratio + proposal.log_ratio) for back, proposal in backs if back is not None) > 0.1


def test_moves_that_reverse_each_other_are_tried_equally_often() -> None:
    probability = {weighed.move.name: weighed.probability for weighed in build_catalogue(PRIOR)}
    assert math.fsum(probability.values()) == pytest.approx(1.0)
    for weighed in build_catalogue(PRIOR):
        assert probability[weighed.move.reverse] == weighed.probability


def test_proposals_of_moves_that_draw_inside_the_prior_are_possible() -> None:
    """Births draw masses from the prior's interval: nothing they propose is forbidden by walls, ordering or corridor."""
    rng = np.random.default_rng(3)
    birth = Birth(PRIOR.space)
    for _ in range(200):
        proposal = propose(birth, rng, PRIOR.draw(rng))
        assert proposal is None or PRIOR.log_density(proposal.state) > -math.inf


def test_states_survive_json_and_protomodels() -> None:
    rng = np.random.default_rng(4)
    for prior in (PRIOR, COMPACT):
        for _ in range(100):
            state = prior.draw(rng)
            assert SamplerState.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False))) == state
            model = state.to_protomodel()
            assert set(model.masses) == set(state.content)
            assert all(math.isclose(sum(channels.values()), 1.0) for channels in model.branching_ratios.values())
            assert_same_state(state_from_protomodel(model), state)
            again = state_from_protomodel(ProtoModel.from_json(json.dumps(model.to_json())))
            assert_same_state(again, state)


def test_every_state_of_the_prior_has_an_open_channel_for_every_particle() -> None:
    rng = np.random.default_rng(5)
    for prior in (PRIOR, COMPACT):
        for _ in range(200):
            state = prior.draw(rng)
            for pid in state.others:
                assert state.decays[pid].keys() <= set(available_groups(pid, state.masses))
                assert math.isclose(sum(state.decays[pid].values()), 1.0)
            assert prior.space.rules.find_violation(state.masses) is None


def test_models_without_coordinates_are_refused() -> None:
    stop = {XT: {(6, LBP_PID): 1.0}}
    masses = {LBP_PID: 100.0, XT: 600.0}
    with pytest.raises(ModelFormatError, match="explicit"):
        state_from_protomodel(ProtoModel(masses, stop, {}, {13: {(-XT, XT): 1.0}}))
    with pytest.raises(ModelFormatError, match=r"branching_ratios\[1000006\]"):
        state_from_protomodel(ProtoModel(masses, {}, {}))
    with pytest.raises(ModelFormatError, match="sampler state"):
        SamplerState.from_json({"masses": {"a": 1.0}})


def test_exchanges_of_flavours_are_involutions() -> None:
    for exchange in EXCHANGES:
        assert all(exchange.renamed[exchange.renamed[pid]] == pid for pid in exchange.renamed)
    moves = moves_of(PRIOR)
    states = [state for state, _ in list_proposals(PRIOR, "swap", moves["swap"], 300, seed=6)]
    assert {len(state.masses) for state in states} >= {4, 5, 6, 7}
