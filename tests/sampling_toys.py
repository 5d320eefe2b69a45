"""Small model spaces, test functions and one-step flows for the tests of the sampler."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from builder.particle_rules import ParticleRules
from builder.sampling.moves.catalogue import build_families
from builder.sampling.moves.protocol import Proposal, RatioTerms, propose
from builder.sampling.prior import Prior
from builder.sampling.settings import Complexity, SamplingSettings
from builder.sampling.space import Space
from builder.sampling.state import OFF, SamplerState, available_groups
from inference.score import ScoreSettings
from inference.spectrum import LBP_PID
from inference.types import FloatArray

XD, XU, XS, XC, XB, XT, XT2 = 1000001, 1000002, 1000003, 1000004, 1000005, 1000006, 2000006
XE, XNUE, XMU, XNUMU = 1000011, 1000012, 1000013, 1000014
XG, X2Z, X1W, X3Z, X2W = 1000021, 1000023, 1000024, 1000025, 1000037

MIXED_POOL = (XT, XT2, XB, X1W, X2Z, X3Z, XG)
"""Ordered partners, the corridor, off-shell modes, many channels, tied processes."""
FAMILY_POOL = (XD, XU, XC, XG, XE, XNUE, XMU, XNUMU, X1W)
"""Flavours that exchange their roles, partners without an ordering."""

FLAT = ScoreSettings(prior="flat")


def build_prior(score: ScoreSettings | None = None, rules: ParticleRules | None = None, **settings: object) -> Prior:
    """The prior over a space with some settings."""
    return Prior(Space(SamplingSettings.model_validate(settings), rules or ParticleRules()), score or ScoreSettings())


@lru_cache(maxsize=8)
def family_prior(family: str) -> Prior:
    """A space in which the moves of a family have something to do in most states."""
    settings: dict[str, object] = {"max_particles": 5, "complexity": Complexity.PER_MODEL}
    if family in ("swap", "merge_split"):
        return build_prior(FLAT, particles=FAMILY_POOL, **settings)
    # light and close together, so that channels open and close with every step
    rules = ParticleRules(max_mass_gev=500.0, walls_gev={}, corridor_max_mass_gev=260.0)
    return build_prior(FLAT, rules, particles=MIXED_POOL, max_lbp_mass_gev=200.0, **settings)


def functions_of(state: SamplerState, prior: Prior) -> list[float]:
    """Numbers that tell distributions of states apart, in every kind of coordinate."""
    space = prior.space
    ranks = {pid: space.mass_interval(pid, state.masses).rank(mass) for pid, mass in state.masses.items()}
    groups = [br for some in state.decays.values() for br in some.values()]
    num_open, num_others = len(groups), len(state.others)
    low, high = math.log(space.settings.kappa_min), math.log(space.settings.kappa_max)
    kappas = [(math.log(kappa) - low) / (high - low) for kappa in state.kappas]
    num_on = sum(number != OFF for number in state.kappa_class.values())
    sizes = [len(members) for members in state.class_members()]
    num_available = sum(len(available_groups(pid, state.masses, space.channels)) for pid in state.others)
    return [
        *(float(pid in state.masses) for pid in space.pool),
        float(num_others),
        float(num_others**2),
        ranks[LBP_PID],
        ranks[LBP_PID] ** 2,
        math.fsum(ranks.values()),
        math.fsum(rank**2 for rank in ranks.values()),
        math.fsum(state.masses.values()) / 1000.0,
        float(num_open),
        float(num_open - num_others) ** 2,
        float(num_available),
        math.fsum(br**2 for br in groups),
        math.fsum(abs(br - 0.5) for br in groups),
        max(groups, default=0.0),
        math.fsum(math.log(max(br, 1e-12)) for br in groups),
        float(num_on),
        float(num_on**2),
        float(len(kappas)),
        float(len(kappas) ** 2),
        math.fsum(kappas),
        math.fsum((kappa - 0.5) ** 2 for kappa in kappas),
        float(num_on * len(kappas)),
        float(sizes.count(1)),
        float(max(sizes, default=0)),
        float(num_others * num_open),
        (max(kappas) - min(kappas)) if kappas else 0.0,
    ]


class Flow(NamedTuple):
    """What one step of a family does to exact draws from the prior.

    Attributes:
        change: change of the test functions, shape (num_draws, num_functions); 0 where nothing is proposed.
        log_target: ln p(s') - ln p(s), -inf where nothing is proposed, shape (num_draws,).
        terms: selection, density and Jacobian terms, shape (num_draws, 3).
    """

    change: FloatArray
    log_target: FloatArray
    terms: FloatArray

    def pulls(self, terms: FloatArray) -> FloatArray:
        """Mean change per step in units of its standard error, with the given terms in the acceptance probability.

        For an invariant distribution E[α(s, s') (h(s') - h(s))] is zero for every test function h.
        """
        with np.errstate(over="ignore"):
            alpha = np.minimum(1.0, np.exp(np.minimum(self.log_target + terms.sum(axis=1), 50.0)))
        moved = alpha[:, None] * self.change
        error = moved.std(axis=0) / math.sqrt(len(moved))
        return np.divide(moved.mean(axis=0), error, out=np.zeros_like(error), where=error > 0.0)


@lru_cache(maxsize=32)
def exact_draws(prior: Prior, num_draws: int, seed: int) -> tuple[tuple[SamplerState, ...], FloatArray]:
    """Draws from the prior, and their test functions."""
    rng = np.random.default_rng(seed)
    states = tuple(prior.draw(rng) for _ in range(num_draws))
    return states, np.array([functions_of(state, prior) for state in states])


def measure_flow(family: str, num_draws: int, seed: int) -> Flow:
    """One proposal of a family from each of many exact draws."""
    prior = family_prior(family)
    moves = build_families(prior)[family]
    states, before = exact_draws(prior, num_draws, seed)
    rng = np.random.default_rng([seed, len(family)])
    change, log_target, terms = np.zeros_like(before), np.full(num_draws, -math.inf), np.zeros((num_draws, 3))
    for i, state in enumerate(states):
        move = moves[int(rng.integers(len(moves)))]
        proposal = propose(move, rng, state, move.first_scale or 1.0)
        if proposal is None:
            continue
        log_density = prior.log_density(proposal.state)
        if log_density > -math.inf:
            log_target[i] = log_density - prior.log_density(state)
            change[i] = np.array(functions_of(proposal.state, prior)) - before[i]
            terms[i] = proposal.terms
    return Flow(change, log_target, terms)


def mutate_terms(terms: FloatArray, name: str, factor: float) -> FloatArray:
    """The terms with one of them multiplied: 0 drops it, -1 has the wrong sign."""
    mutated = terms.copy()
    mutated[:, RatioTerms._fields.index(name)] *= factor
    return mutated


class MutantMove:
    """A move one term of whose log ratio is wrong.

    Args:
        move: the right one.
        term: name of the term.
        factor: what the term is multiplied with.
    """

    def __init__(self, move: object, term: str, factor: float) -> None:
        self._move, self._term, self._factor = move, term, factor
        self.name, self.reverse, self.first_scale = move.name, move.reverse, move.first_scale
        self.draw = move.draw

    def apply(self, state: SamplerState, choice: tuple[object, ...]) -> Proposal | None:
        """The proposal with a wrong term."""
        proposal = self._move.apply(state, choice)
        if proposal is None:
            return None
        wrong = proposal.terms._replace(**{self._term: self._factor * getattr(proposal.terms, self._term)})
        return proposal._replace(terms=wrong)


def assert_same_state(first: SamplerState, second: SamplerState) -> None:
    """The states are equal up to rounding."""
    assert first.masses.keys() == second.masses.keys()
    assert first.kappa_class == second.kappa_class
    np.testing.assert_allclose(list(first.masses.values()), list(second.masses.values()), rtol=1e-10)
    np.testing.assert_allclose(first.kappas, second.kappas, rtol=1e-9)
    assert {pid: set(groups) for pid, groups in first.decays.items()} == {pid: set(groups) for pid, groups in second.decays.items()}
    for pid, groups in first.decays.items():
        for group, br in groups.items():
            assert math.isclose(br, second.decays[pid][group], rel_tol=1e-7, abs_tol=1e-13)


def all_contents(prior: Prior) -> Sequence[frozenset[int]]:
    """All possible contents of a small pool."""
    return prior.space.possible_contents()
