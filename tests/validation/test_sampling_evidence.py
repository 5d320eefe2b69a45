"""Bayes factors of the sampler on published results, against direct Monte Carlo over the prior: a check that shares no move with it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from builder.evaluate import EvaluationSettings, Evaluator
from builder.particle_rules import ParticleRules
from builder.sampling.likelihood import StoreLikelihood
from builder.sampling.posterior import PosteriorSummary, summarise
from builder.sampling.prior import Prior
from builder.sampling.settings import SamplingSettings
from builder.sampling.space import Space
from builder.sampling.tempering import Ladder
from database.results.importer import open_embedded_store
from inference.score import ScoreSettings
from inference.spectrum import LBP_PID
from tests.sampling_toys import X2Z, XB, XT

pytestmark = pytest.mark.slow

NUM_DRAWS = 5000


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    """Three particles up to 1.2 TeV on the embedded results, critics included."""
    settings = SamplingSettings(
        particles=(XT, X2Z, XB), max_lbp_mass_gev=500.0, kappa_min=0.1, kappa_max=10.0, betas=(1.0, 0.4, 0.0),
        num_steps=9000, burn_in_steps=1000, thin=4,
    )  # fmt: skip
    prior = Prior(Space(settings, ParticleRules(max_mass_gev=1200.0)), ScoreSettings())
    likelihood = StoreLikelihood(Evaluator(open_embedded_store(), EvaluationSettings()), settings)
    return Ladder(prior, likelihood, seed=4)


@pytest.fixture(scope="module")
def summary(ladder: Ladder) -> PosteriorSummary:
    draws = [ladder.advance(ladder.start(number), number, 9000)[1] for number in range(2)]
    return summarise(draws, ladder.prior, ScoreSettings())


class _FixedContent(Prior):
    """Exact draws from the prior of one content."""

    def __init__(self, prior: Prior, content: frozenset[int]) -> None:
        super().__init__(prior.space, ScoreSettings())
        self._content = content

    def draw_content(self, rng: np.random.Generator) -> frozenset[int]:
        return self._content


@pytest.mark.parametrize("others", [(XT,), (XB,), (X2Z,), (XT, X2Z)])
def test_bayes_factors_agree_with_direct_monte_carlo(ladder: Ladder, summary: PosteriorSummary, others: tuple[int, ...]) -> None:
    prior = _FixedContent(ladder.prior, frozenset(others))
    rng = np.random.default_rng(sum(others))
    weigh = ladder.log_likelihood
    values = np.array([math.exp(weigh(prior.space.model_of(prior.draw(rng))).log_likelihood) for _ in range(NUM_DRAWS)])
    entry = next(entry for entry in summary.contents if entry.content == tuple(sorted((LBP_PID, *others))))
    error = math.hypot(entry.bayes_factor_error, values.std() / math.sqrt(NUM_DRAWS))
    assert error < 0.5 * entry.bayes_factor
    assert abs(entry.bayes_factor - values.mean()) < 3.0 * error
    assert entry.agreement > 1e-3 or math.isnan(entry.agreement)
