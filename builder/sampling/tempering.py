"""A walker: chains at several powers of the likelihood, exchanged between neighbours.

Walk: kernel ──▶ **tempering** ──▶ run. The target of the ladder is Π_i p(s_i) L(s_i)^β_i; an exchange of neighbours i, j is taken with
probability min(1, exp((β_i - β_j)(ln L_j - ln L_i))). Pairs (0, 1), (2, 3) ... and (1, 2), (3, 4) ... take turns. Random numbers are
keyed by (seed, walker, chain, step) and (seed, walker, round), so it does not matter which process computes what, or when.

A chain at β = 0 samples the prior, in which every state counts; where its likelihood is zero it cannot be exchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from builder.sampling.chain import ChainState
from builder.sampling.kernel import SampleKernel, build_kernel, first_scales, is_admissible, weigh
from builder.sampling.likelihood import LogLikelihood, Weight
from builder.sampling.moves.catalogue import WeighedMove, build_catalogue
from builder.sampling.prior import Prior
from builder.sampling.state import SamplerState, build_state
from builder.walk import step_rng
from inference.spectrum import LBP_PID

MAX_CHAINS = 64
"""Chains of one walker at most: their number completes the key of the random numbers."""

EXCHANGE_STREAM = 2**63
"""Walker numbers of the exchanges' random numbers start here."""

MAX_START_DRAWS = 200
"""Draws from the prior until a start with a likelihood is found; then the walker starts with X_Z^1 alone."""


ExchangeRule: TypeAlias = Callable[[float, float, float, float], float]
"""ln of the probability of an exchange, from β and ln L of the colder and the hotter chain: (β_c, β_h, ln L_c, ln L_h)."""


class Draw(NamedTuple):
    """One recorded state of the cold chain.

    Attributes:
        step: number of the step.
        state: the state.
        log_prior: ln of its prior density.
        log_likelihood: its ln L(M)/L(SM).
    """

    step: int
    state: SamplerState
    log_prior: float
    log_likelihood: float


class Walker(NamedTuple):
    """The chains of one walker, cold first, all at the same step, and what its exchanges were.

    Attributes:
        chains: one per power of the likelihood.
        exchanges: (tried, taken) per pair of neighbours.
    """

    chains: tuple[ChainState, ...]
    exchanges: tuple[tuple[int, int], ...]

    @property
    def step(self) -> int:
        """Return the number of steps done."""
        return self.chains[0].step


class Ladder:
    """Advances walkers.

    Args:
        prior: prior density.
        log_likelihood: weighs a model.
        seed: seed of the run.
        catalogue: moves; None: all that the settings give a weight.
        log_exchange: ln of the probability of an exchange, from (β cold, β hot, ln L cold, ln L hot); None: the right one.
    """

    def __init__(
        self,
        prior: Prior,
        log_likelihood: LogLikelihood,
        seed: int,
        catalogue: Sequence[WeighedMove] | None = None,
        log_exchange: ExchangeRule | None = None,
    ) -> None:
        self.prior = prior
        self.settings = prior.space.settings
        self.log_likelihood = log_likelihood
        self._seed = seed
        self._log_exchange = log_exchange or _log_exchange
        self._catalogue = build_catalogue(prior) if catalogue is None else tuple(catalogue)
        self._kernels: tuple[SampleKernel, ...] = tuple(
            build_kernel(prior, log_likelihood, self._catalogue, beta) for beta in self.settings.betas
        )

    def start(self, number: int) -> Walker:
        """Return a walker before its first step, each chain at a draw from the prior.

        Args:
            number: the walker's number.
        """
        betas = self.settings.betas
        return Walker(tuple(self._start_chain(number, index) for index in range(len(betas))), ((0, 0),) * (len(betas) - 1))

    def _start_chain(self, number: int, index: int) -> ChainState:
        rng = step_rng(self._seed, number * MAX_CHAINS + index, 0)
        scales = first_scales(self._catalogue)
        if self.settings.betas[index] == 0.0:
            state = self.prior.draw(rng)
            return ChainState(state, self.prior.log_density(state), None, 0, scales)
        for _ in range(MAX_START_DRAWS):
            state = self.prior.draw(rng)
            weight = self.log_likelihood(self.prior.space.model_of(state))
            if is_admissible(weight):
                return ChainState(state, self.prior.log_density(state), weight, 0, scales)
        interval = self.prior.space.mass_interval(LBP_PID, {})
        state = build_state({LBP_PID: interval.at(1.0 - rng.random())}, {}, {}, ())
        return ChainState(state, self.prior.log_density(state), Weight(0.0), 0, scales)

    def advance(self, walker: Walker, number: int, last_step: int) -> tuple[Walker, list[Draw]]:
        """Return the walker after the steps up to the last one, and what the cold chain recorded.

        Args:
            walker: where it stands.
            number: its number.
            last_step: number of the last step to do.
        """
        settings = self.settings
        draws: list[Draw] = []
        while walker.step < last_step:
            until = min(last_step, (walker.step // settings.swap_every + 1) * settings.swap_every)
            chains = []
            for index, chain in enumerate(walker.chains):
                current = chain
                for step in range(chain.step + 1, until + 1):
                    current, _ = self._kernels[index](step_rng(self._seed, number * MAX_CHAINS + index, step), current)
                    if index == 0 and step > settings.burn_in_steps and step % settings.thin == 0:
                        draws.append(Draw(step, current.state, current.log_prior, current.log_likelihood))
                chains.append(current)
            walker = Walker(tuple(chains), walker.exchanges)
            if until % settings.swap_every == 0:
                walker = self._exchange(walker, number, until // settings.swap_every)
        return walker, draws

    def _exchange(self, walker: Walker, number: int, turn: int) -> Walker:
        """Offer exchanges to every other pair of neighbours."""
        rng = step_rng(self._seed, EXCHANGE_STREAM + number, turn)
        chains, exchanges = list(walker.chains), list(walker.exchanges)
        for index in range(turn % 2, len(chains) - 1, 2):
            log_threshold = math.log1p(-rng.random())
            cold, hot = (weigh(chain, self.prior.space, self.log_likelihood) for chain in chains[index : index + 2])
            betas = self.settings.betas[index], self.settings.betas[index + 1]
            is_taken = log_threshold < self._log_exchange(betas[0], betas[1], cold.log_likelihood, hot.log_likelihood)
            tried, taken = exchanges[index]
            exchanges[index] = tried + 1, taken + is_taken
            if is_taken:
                place, other = (cold.state, cold.log_prior, cold.weight), (hot.state, hot.log_prior, hot.weight)
                cold = replace(cold, state=other[0], log_prior=other[1], weight=other[2])
                hot = replace(hot, state=place[0], log_prior=place[1], weight=place[2])
            chains[index], chains[index + 1] = cold, hot
        return Walker(tuple(chains), tuple(exchanges))


def _log_exchange(beta_cold: float, beta_hot: float, log_likelihood_cold: float, log_likelihood_hot: float) -> float:
    """Return ln of the probability that two chains exchange their states.

    Examples:
        >>> round(_log_exchange(1.0, 0.5, 3.0, 1.0), 6), _log_exchange(1.0, 0.5, 1.0, 3.0)
        (-1.0, 0.0)
        >>> _log_exchange(1.0, 0.0, 1.0, -math.inf)
        -inf
    """
    return min(0.0, (beta_cold - beta_hot) * (log_likelihood_hot - log_likelihood_cold))
