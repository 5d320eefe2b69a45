"""What a run says: probabilities of contents, with their errors, and the fixed-content slices behind them.

Walk: run ──▶ diagnostics ──▶ **posterior** ──▶ netcdf, command line.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from builder.particles import particle_of
from builder.prior_terms import count_prior_terms
from builder.sampling.diagnostics import agreement, count_switches, effective_sample_size, r_hat
from builder.sampling.prior import Prior
from builder.sampling.space import Space
from builder.sampling.tempering import Draw
from inference.score import ScoreSettings, k_score, log_prior
from inference.spectrum import LBP_PID
from inference.types import FloatArray

MIN_SLICE = 10
"""Draws of a content that every walker must have for an R-hat of its slice."""

Content = tuple[int, ...]
"""Positive PDG ids, X_Z^1 included, increasing."""


class ContentSummary(NamedTuple):
    """One content of the posterior.

    Attributes:
        content: its particles.
        label: their short names; "X1Z" is X_Z^1 alone.
        probability: posterior probability.
        error: its standard error.
        ess: effective number of independent visits-or-not behind it (model-switch ESS).
        prior_probability: exact.
        bayes_factor: P(data | content) / P(data | X_Z^1 alone), from posterior and prior odds; nan where X_Z^1 alone was not visited.
        bayes_factor_error: its standard error, as if both probabilities were independent.
        per_walker: probability in each walker.
        agreement: p-value of equal probabilities in all walkers; nan for one walker.
        r_hat: largest rank-normalised split R-hat over the masses and ln L of the slice; nan for slices that are too short.
        num_draws: recorded draws.
        best_k: largest K = 2 ln L + 2 ln π among them, π with the exact counting of the score.
    """

    content: Content
    label: str
    probability: float
    error: float
    ess: float
    prior_probability: float
    bayes_factor: float
    bayes_factor_error: float
    per_walker: tuple[float, ...]
    agreement: float
    r_hat: float
    num_draws: int
    best_k: float


class PosteriorSummary(NamedTuple):
    """All contents, the most probable first.

    Attributes:
        contents: one entry per content visited.
        num_draws: recorded draws per walker.
        num_switches: how often neighbouring draws have different contents, over all walkers.
        switch_ess: effective sample size of the number of particles.
        r_hat: R-hat of the number of particles and of ln L, the larger one.
    """

    contents: tuple[ContentSummary, ...]
    num_draws: int
    num_switches: int
    switch_ess: float
    r_hat: float


def content_label(content: Content) -> str:
    """Return the short names of a content's particles, X_Z^1 last.

    Examples:
        >>> content_label((1000006, 1000022))
        'Xt X1Z'
    """
    return " ".join(particle_of(pid).ascii_id for pid in sorted(content, key=lambda pid: (pid == LBP_PID, pid)))


def equal_lengths(draws: Sequence[Sequence[Draw]]) -> tuple[tuple[Draw, ...], ...]:
    """Return the draws of all walkers, cut to the shortest."""
    size = min(len(some) for some in draws)
    return tuple(tuple(some[:size]) for some in draws)


def k_of(draw: Draw, space: Space, score: ScoreSettings) -> float:
    """Return K = 2 ln L + 2 ln π of a draw, π counted as in the score."""
    terms = count_prior_terms(space.model_of(draw.state))
    return k_score(2.0 * draw.log_likelihood, log_prior(terms, score))


def slice_of(draws: Sequence[Sequence[Draw]], content: Content) -> tuple[tuple[Draw, ...], ...]:
    """Return the draws with a content per walker, walkers that never had it left out, cut to the shortest."""
    slices = [[draw for draw in some if draw.state.content == content] for some in draws]
    return equal_lengths([some for some in slices if some])


def slice_r_hat(draws: Sequence[Sequence[Draw]], content: Content) -> float:
    """Return the largest R-hat over masses and ln L of a fixed-content slice; nan where a walker has too few draws of it."""
    counts = [sum(draw.state.content == content for draw in some) for some in draws]
    if min(counts) < MIN_SLICE:
        return math.nan
    chains = slice_of(draws, content)
    columns = [np.array([[draw.state.masses[pid] for draw in some] for some in chains]) for pid in content]
    columns.append(np.array([[draw.log_likelihood for draw in some] for some in chains]))
    values = [value for value in map(r_hat, columns) if not math.isnan(value)]
    return max(values, default=math.nan)


class _Estimate(NamedTuple):
    """How often a content is visited, and how well that is known."""

    probability: float
    error: float
    ess: float
    per_walker: tuple[float, ...]
    agreement: float

    @property
    def relative_error(self) -> float:
        """Return the error as a fraction; nan where the content was not visited."""
        return self.error / self.probability if self.probability > 0.0 else math.nan


def _estimate(chains: Sequence[Sequence[Draw]], content: Content) -> _Estimate:
    is_here = np.array([[float(draw.state.content == content) for draw in some] for some in chains])
    ess, probability = effective_sample_size(is_here), float(is_here.mean())
    error = math.sqrt(probability * (1.0 - probability) / ess) if ess > 0.0 else math.nan
    return _Estimate(probability, error, ess, tuple(float(value) for value in is_here.mean(axis=1)), agreement(is_here))


def summarise(draws: Sequence[Sequence[Draw]], prior: Prior, score: ScoreSettings) -> PosteriorSummary:
    """Return the posterior of a run.

    Args:
        draws: what the cold chain of each walker recorded.
        prior: the prior the run sampled with.
        score: prior of K.
    """
    chains = equal_lengths(draws)
    counts = Counter(draw.state.content for some in chains for draw in some)
    reference = _estimate(chains, (LBP_PID,))
    alone = reference.probability / math.exp(prior.log_content(frozenset()))
    best: dict[Content, float] = {}
    for some in chains:
        for draw in some:
            best[draw.state.content] = max(best.get(draw.state.content, -math.inf), k_of(draw, prior.space, score))
    contents = []
    for content, number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        here = _estimate(chains, content)
        prior_probability = math.exp(prior.log_content(frozenset(content) - {LBP_PID}))
        factor = here.probability / prior_probability / alone if alone > 0.0 else math.nan
        contents.append(
            ContentSummary(
                content=content,
                label=content_label(content),
                probability=here.probability,
                error=here.error,
                ess=here.ess,
                prior_probability=prior_probability,
                bayes_factor=factor,
                bayes_factor_error=0.0 if content == (LBP_PID,) else factor * math.hypot(here.relative_error, reference.relative_error),
                per_walker=here.per_walker,
                agreement=here.agreement,
                r_hat=slice_r_hat(chains, content),
                num_draws=number,
                best_k=best[content],
            )
        )
    labels = np.array([[hash(draw.state.content) for draw in some] for some in chains], dtype=np.int64)
    sizes: FloatArray = np.array([[float(len(draw.state.content)) for draw in some] for some in chains])
    values: FloatArray = np.array([[draw.log_likelihood for draw in some] for some in chains])
    return PosteriorSummary(
        contents=tuple(contents),
        num_draws=len(chains[0]),
        num_switches=count_switches(labels),
        switch_ess=effective_sample_size(sizes),
        r_hat=max((value for value in (r_hat(sizes), r_hat(values)) if not math.isnan(value)), default=math.nan),
    )
