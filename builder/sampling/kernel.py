"""One Metropolis-Hastings-Green step on prior × likelihood^β.

Walk: moves, prior, likelihood ──▶ **kernel** ──▶ tempering. A pure function of a random generator and a chain. In order:

1. the Metropolis number is drawn, then the move;
2. the move proposes s' with its log ratio r; where it has nothing to do the chain stays;
3. ln α = ln p(s') - ln p(s) + β (ln L(s') - ln L(s)) + r + ln (probability that s' tries the reverse move / that s tries this one);
4. s' is taken if the Metropolis number is below α. A veto or a failed fit is density zero: s' is refused and counted.

At β = 0 the likelihood plays no part and is computed only when the chain is offered for an exchange.

During burn-in the widths follow ln s += tried^(-0.6) (α - target), Robbins and Monro's rule; afterwards they stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np

from builder.sampling.chain import ChainState, Decision
from builder.sampling.likelihood import LogLikelihood, Weight
from builder.sampling.moves.catalogue import WeighedMove
from builder.sampling.moves.protocol import Move
from builder.sampling.prior import Prior
from builder.sampling.space import Space
from inference.types import Outcome

ADAPTATION_POWER = -0.6
"""Exponent of the gain of the adaptation; between -1/2 and -1 it converges."""


KeyT = TypeVar("KeyT")


class StepInfo(NamedTuple):
    """What happened in one step.

    Attributes:
        move: name of the move that was tried.
        decision: how the step ended.
        log_alpha: ln of the acceptance probability, at most 0; -inf where the proposal has density zero, nan where there is none.
    """

    move: str
    decision: Decision
    log_alpha: float


SampleKernel: TypeAlias = Callable[[np.random.Generator, ChainState], tuple[ChainState, StepInfo]]


def first_scales(catalogue: Sequence[WeighedMove]) -> dict[str, float]:
    """Return the widths a chain starts with."""
    return {weighed.move.name: weighed.move.first_scale for weighed in catalogue if weighed.move.first_scale is not None}


def weigh(chain: ChainState, space: Space, log_likelihood: LogLikelihood) -> ChainState:
    """Return the chain with its likelihood known."""
    if chain.weight is not None:
        return chain
    weight = log_likelihood(space.model_of(chain.state))
    return replace(chain, weight=weight, failures=_add(chain.failures, weight.failures))


def build_kernel(prior: Prior, log_likelihood: LogLikelihood, catalogue: Sequence[WeighedMove], beta: float) -> SampleKernel:
    """Build the function that does one step.

    Args:
        prior: prior density.
        log_likelihood: weighs a model.
        catalogue: moves and the probability that a step tries them.
        beta: power of the likelihood.
    """
    settings = prior.space.settings
    cumulative = np.cumsum([weighed.probability for weighed in catalogue])
    probability = {weighed.move.name: weighed.probability for weighed in catalogue}

    def kernel(rng: np.random.Generator, chain: ChainState) -> tuple[ChainState, StepInfo]:
        log_threshold = math.log1p(-rng.random())
        index = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        move = catalogue[index].move
        choice = move.draw(rng, chain.state, chain.scales.get(move.name, 1.0))
        if choice is None:
            return _end(chain, move, Decision.IMPOSSIBLE, math.nan)
        proposal = move.apply(chain.state, choice)
        log_prior = -math.inf if proposal is None else prior.log_density(proposal.state)
        if proposal is None or log_prior == -math.inf:
            return _end(chain, move, Decision.FORBIDDEN, -math.inf)
        log_alpha = log_prior - chain.log_prior + proposal.log_ratio
        log_alpha += math.log(probability.get(move.reverse, 0.0) / probability[move.name]) if move.reverse != move.name else 0.0
        weight: Weight | None = None
        if beta > 0.0:
            weight = log_likelihood(prior.space.model_of(proposal.state))
            if weight.log_likelihood == -math.inf:
                decision = Decision.EXCLUDED if weight.is_excluded else Decision.UNEVALUABLE
                return _end(replace(chain, failures=_add(chain.failures, weight.failures)), move, decision, -math.inf)
            log_alpha += beta * (weight.log_likelihood - chain.log_likelihood)
        log_alpha = min(0.0, log_alpha)
        if log_alpha <= log_threshold:
            return _end(chain, move, Decision.REJECTED, log_alpha)
        moved = replace(chain, state=proposal.state, log_prior=log_prior, weight=weight)
        return _end(moved, move, Decision.ACCEPTED, log_alpha)

    def _end(chain: ChainState, move: Move, decision: Decision, log_alpha: float) -> tuple[ChainState, StepInfo]:
        """Count the step, adapt the width, and start counting anew when burn-in ends."""
        tried, accepted = chain.tallies.get(move.name, (0, 0))
        tried, accepted = tried + 1, accepted + (decision is Decision.ACCEPTED)
        step = chain.step + 1
        scales = chain.scales
        if step <= settings.burn_in_steps and move.first_scale is not None and decision is not Decision.IMPOSSIBLE:
            scales = {**scales, move.name: adapt(scales[move.name], move.first_scale, tried, math.exp(log_alpha))}
        if step == settings.burn_in_steps:
            return replace(chain, step=step, scales=scales, tallies={}, decisions={}), StepInfo(move.name, decision, log_alpha)
        tallies = {**chain.tallies, move.name: (tried, accepted)}
        decisions = _add(chain.decisions, {decision: 1})
        return replace(chain, step=step, scales=scales, tallies=tallies, decisions=decisions), StepInfo(move.name, decision, log_alpha)

    def adapt(scale: float, first: float, tried: int, alpha: float) -> float:
        proposals = settings.proposals
        wanted = scale * math.exp(tried**ADAPTATION_POWER * (alpha - proposals.target_acceptance))
        return min(max(wanted, first / proposals.scale_range), first * proposals.scale_range)

    return kernel


def _add(counts: Mapping[KeyT, int], more: Mapping[KeyT, int]) -> dict[KeyT, int]:
    return {**counts, **{key: counts.get(key, 0) + number for key, number in more.items()}} if more else dict(counts)


def is_admissible(weight: Weight) -> bool:
    """Return whether a state with this weight has a density at β > 0."""
    return weight.log_likelihood > -math.inf and weight.outcome not in (Outcome.FIT_FAILED, Outcome.NON_FINITE)
