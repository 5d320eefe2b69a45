"""Whole chains on targets whose model probabilities are known: the prior, skewed toys, and the joint distribution with data.

Errors come from the chains' own effective sample sizes; a pull beyond 3 fails.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta as beta_law

from builder.protomodel import ProtoModel
from builder.sampling.chain import ChainState
from builder.sampling.diagnostics import effective_sample_size
from builder.sampling.kernel import build_kernel, first_scales
from builder.sampling.likelihood import LogLikelihood, Weight
from builder.sampling.moves.catalogue import WeighedMove, build_catalogue
from builder.sampling.prior import Prior
from builder.sampling.settings import Complexity
from builder.sampling.state import SamplerState
from builder.sampling.tempering import Draw, ExchangeRule, Ladder
from inference.score import ScoreSettings
from inference.spectrum import LBP_PID
from inference.types import FloatArray
from tests.sampling_toys import X1W, X2Z, XB, XC, XG, XT, MutantMove, all_contents, build_prior, functions_of

SEED = int(os.environ.get("PROTOMODELS_TEST_SEED", "1"))
MAX_PULL = 3.0 if "PROTOMODELS_TEST_SEED" not in os.environ else 4.5
"""Some forty pulls are tested: beyond 3 happens in one of ten seeds, so that a hunt with fresh seeds asks for more."""
NO_INDEPENDENCE = {"independent": 0.0, "birth_death": 0.4, "mass_one": 0.2, "kappa_copy_detach": 0.25, "kappa_on_off": 0.2}
"""Draws from the prior would hide what other moves do wrong; changes of structure are what mixes."""


def run(
    prior: Prior,
    log_likelihood: LogLikelihood,
    catalogue: Sequence[WeighedMove] | None = None,
    log_exchange: ExchangeRule | None = None,
    num_walkers: int = 2,
) -> list[list[Draw]]:
    ladder = Ladder(prior, log_likelihood, SEED, catalogue, log_exchange)
    return [ladder.advance(ladder.start(number), number, prior.space.settings.num_steps)[1] for number in range(num_walkers)]


def pull(values: FloatArray, expected: float, min_size: float = 20.0) -> float:
    """Deviation of a mean from its expectation in units of the error that the chains themselves state; shape (walkers, draws)."""
    size = effective_sample_size(values)
    if np.ptp(values) == 0.0:  # a chain that never leaves where it should
        return math.inf if values.mean() != expected else 0.0
    assert size > min_size
    return float((values.mean() - expected) / (values.std() / math.sqrt(size)))


def log_beta(value: float, shape: tuple[float, float]) -> float:
    """ln of a Beta density."""
    a, b = shape
    norm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return norm + (a - 1.0) * math.log(max(value, 1e-300)) + (b - 1.0) * math.log(max(1.0 - value, 1e-300))


def content_pull(draws: Sequence[Sequence[Draw]], content: frozenset[int], probability: float) -> float:
    """Pull of the frequency of a content; the spread is that of the expected probability, not of the few visits there were."""
    values = indicator(draws, content)
    size = effective_sample_size(values)
    assert size > 20.0
    return float((values.mean() - probability) / math.sqrt(probability * (1.0 - probability) / size))


def indicator(draws: Sequence[Sequence[Draw]], content: frozenset[int]) -> FloatArray:
    return np.array([[float(frozenset(draw.state.others) == content) for draw in some] for some in draws])


# --- the prior -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("complexity", [Complexity.PER_COUNT, pytest.param(Complexity.PER_MODEL, marks=pytest.mark.slow)])
def test_without_data_the_chains_return_the_prior(complexity: Complexity) -> None:
    """Content probabilities exactly, and every test function against exact draws."""
    prior = build_prior(
        complexity=complexity, particles=(XT, X1W, X2Z, XB), max_particles=4, betas=(1.0,), num_steps=16000, burn_in_steps=1000, thin=4,
        weights=NO_INDEPENDENCE,
    )  # fmt: skip
    draws = run(prior, lambda model: Weight(0.0))
    for content in all_contents(prior):
        assert abs(content_pull(draws, content, math.exp(prior.log_content(content)))) < MAX_PULL + 0.5, content
    rng = np.random.default_rng(SEED)
    exact = np.array([functions_of(prior.draw(rng), prior) for _ in range(4000)])
    found = np.array([[functions_of(draw.state, prior) for draw in some] for some in draws])
    for column in range(exact.shape[1]):
        size = effective_sample_size(found[..., column])
        error = math.hypot(exact[:, column].std() / math.sqrt(len(exact)), found[..., column].std() / math.sqrt(size))
        assert abs(found[..., column].mean() - exact[:, column].mean()) < (MAX_PULL + 0.5) * error


# --- skewed targets of one to six dimensions -------------------------------------------------------------------------------------

TOY_POOL = (XB, XC, X2Z, X1W, XG)
EVIDENCE = {LBP_PID: 1.0, XB: 3.0, XC: 1.0, X2Z: 1.5, X1W: 0.3, XG: 2.5}
"""Factor of the evidence per particle."""
SHAPES = {LBP_PID: (1.5, 4.0), XB: (2.0, 6.0), XC: (4.0, 1.5), X2Z: (1.2, 5.0), X1W: (3.0, 3.0), XG: (6.0, 2.0)}
"""Skewed posterior of each mass: Beta(a, b) in its rank between 0 and 1."""
MIN_PROBABILITY = 0.04
"""Rarer contents are visited too seldom for a normal error; they are tested in sums."""
KAPPA_SHAPE, KAPPA_EVIDENCE = (5.0, 2.0), 1.7
"""Posterior of ln κ of a class between its bounds, and the factor of the evidence per class."""


def build_toy(prior: Prior) -> LogLikelihood:
    """A likelihood whose evidence is Π EVIDENCE over the particles times KAPPA_EVIDENCE per class of multipliers.

    The rank of each mass in its interval and the place of each ln κ between its bounds are uniform under the prior whatever the other
    coordinates, so a Beta density in each of them integrates to one.
    """
    low, high = math.log(prior.space.settings.kappa_min), math.log(prior.space.settings.kappa_max)

    def log_likelihood(model: ProtoModel) -> Weight:
        total = 0.0
        for pid, mass in model.masses.items():
            rank = prior.space.mass_interval(pid, model.masses).rank(mass)
            total += math.log(EVIDENCE[pid]) + log_beta(rank, SHAPES[pid])
        for kappa in {kappa for kappa in model.ssms.values() if kappa > 0.0}:
            total += math.log(KAPPA_EVIDENCE) + log_beta((math.log(kappa) - low) / (high - low), KAPPA_SHAPE)
        return Weight(total)

    return log_likelihood


def tie_evidence(prior: Prior, content: frozenset[int]) -> float:
    """E[KAPPA_EVIDENCE^classes] under the prior of the tied classes of a content."""
    levels = prior.tie_law(tuple(sorted((*content, LBP_PID)))).level_probabilities()
    return math.fsum(probability * KAPPA_EVIDENCE**num_classes for (_, _, num_classes), probability in levels.items())


def toy_probabilities(prior: Prior) -> dict[frozenset[int], float]:
    weights = {
        content: math.exp(prior.log_content(content)) * math.prod(EVIDENCE[pid] for pid in content) * tie_evidence(prior, content)
        for content in all_contents(prior)
    }
    total = math.fsum(weights.values())
    return {content: weight / total for content, weight in weights.items()}


@pytest.fixture(scope="module")
def toy_prior() -> Prior:
    return build_prior(particles=TOY_POOL, betas=(1.0, 0.4), num_steps=11000, burn_in_steps=1000, thin=4, weights=NO_INDEPENDENCE)


@pytest.fixture(scope="module")
def toy_draws(toy_prior: Prior) -> list[list[Draw]]:
    return run(toy_prior, build_toy(toy_prior), num_walkers=3)


def test_known_model_probabilities_are_found(toy_prior: Prior, toy_draws: list[list[Draw]]) -> None:
    """32 contents with one to six masses, and their tied classes."""
    expected = toy_probabilities(toy_prior)
    assert len(expected) == 32
    for size in range(6):
        values = np.array([[float(len(draw.state.others) == size) for draw in some] for some in toy_draws])
        assert abs(pull(values, math.fsum(p for content, p in expected.items() if len(content) == size))) < MAX_PULL
    tested = [content for content, probability in expected.items() if probability > MIN_PROBABILITY]
    assert len(tested) >= 4
    for content in tested:
        assert abs(content_pull(toy_draws, content, expected[content])) < MAX_PULL, content
    for pid in TOY_POOL:
        here = np.array([[float(pid in draw.state.masses) for draw in some] for some in toy_draws])
        assert abs(pull(here, math.fsum(p for content, p in expected.items() if pid in content))) < MAX_PULL


@pytest.mark.slow
def test_many_chains_scatter_around_the_known_probabilities(toy_prior: Prior) -> None:
    """Errors from the scatter of 40 independent chains, without any estimate of autocorrelation."""
    draws = run(toy_prior, build_toy(toy_prior), num_walkers=40)
    expected = toy_probabilities(toy_prior)
    pulls = []
    for content, probability in expected.items():
        means = indicator(draws, content).mean(axis=1)
        pulls.append((means.mean() - probability) / (means.std(ddof=1) / math.sqrt(len(means))))
    assert max(map(abs, pulls)) < 4.0
    assert 0.6 < math.sqrt(float(np.mean(np.square(pulls)))) < 1.4


def test_known_skewed_posteriors_are_found(toy_prior: Prior, toy_draws: list[list[Draw]]) -> None:
    low, high = math.log(toy_prior.space.settings.kappa_min), math.log(toy_prior.space.settings.kappa_max)

    moments = {(pid, power): float(beta_law.moment(power, *shape)) for pid, shape in SHAPES.items() for power in (1, 2, 3)}
    mean = float(beta_law.mean(*KAPPA_SHAPE))

    def excess(state: SamplerState, pid: int, power: int) -> float:
        if pid not in state.masses:
            return 0.0
        rank = toy_prior.space.mass_interval(pid, state.masses).rank(state.masses[pid])
        return rank**power - moments[pid, power]

    def kappa_excess(state: SamplerState) -> float:
        return math.fsum((math.log(kappa) - low) / (high - low) - mean for kappa in state.kappas)

    for pid in (LBP_PID, *TOY_POOL):
        for power in (1, 2, 3):
            assert abs(pull(np.array([[excess(draw.state, pid, power) for draw in some] for some in toy_draws]), 0.0)) < MAX_PULL
    assert abs(pull(np.array([[kappa_excess(draw.state) for draw in some] for some in toy_draws]), 0.0)) < MAX_PULL


def worst_pull(prior: Prior, draws: Sequence[Sequence[Draw]]) -> float:
    """Largest pull of the mean numbers of particles and of classes, and of the mass of X_Z^1, of chains that need not mix well."""
    expected, few = toy_probabilities(prior), 5.0
    number = np.array([[float(len(draw.state.others)) for draw in some] for some in draws])
    classes = np.array([[float(len(draw.state.kappas)) for draw in some] for some in draws])
    rank = np.array([[prior.space.mass_interval(LBP_PID, {}).rank(draw.state.masses[LBP_PID]) for draw in some] for some in draws])
    return max(
        abs(pull(number, math.fsum(len(content) * probability for content, probability in expected.items()), few)),
        abs(pull(classes, math.fsum(probability * mean_classes(prior, content) for content, probability in expected.items()), few)),
        abs(pull(rank, float(beta_law.mean(*SHAPES[LBP_PID])), few)),
    )


@pytest.fixture(scope="module")
def small_prior() -> Prior:
    """Two particles with up to six processes: chains that mix fast, so that a mistake shows soon."""
    return build_prior(particles=(X1W, X2Z), betas=(1.0,), num_steps=6000, burn_in_steps=500, thin=2, weights=NO_INDEPENDENCE)


def test_right_chains_find_the_known_probabilities_of_the_small_toy(small_prior: Prior) -> None:
    assert worst_pull(small_prior, run(small_prior, build_toy(small_prior))) < MAX_PULL


@pytest.mark.parametrize(
    ("names", "term", "factor"),
    [
        (("birth", "death"), "selection", 0.0), (("birth", "death"), "density", 0.5), (("kappa_copy", "kappa_detach"), "density", 0.0),
    ],
)  # fmt: skip
def test_chains_with_a_wrong_term_miss_the_known_probabilities(
    small_prior: Prior, names: tuple[str, ...], term: str, factor: float
) -> None:
    catalogue = [
        WeighedMove(MutantMove(move, term, factor) if move.name in names else move, probability)
        for move, probability in build_catalogue(small_prior)
    ]
    assert worst_pull(small_prior, run(small_prior, build_toy(small_prior), catalogue)) > 5.0


def test_exchanges_with_a_wrong_sign_miss_the_known_probabilities(small_prior: Prior) -> None:
    settings = small_prior.space.settings.model_copy(update={"betas": (1.0, 0.0)})
    prior = Prior(replace(small_prior.space, settings=settings), ScoreSettings())
    likelihood = build_toy(prior)
    assert worst_pull(prior, run(prior, likelihood)) < MAX_PULL
    assert worst_pull(prior, run(prior, likelihood, log_exchange=lambda b, c, x, y: min(0.0, -(b - c) * (y - x)))) > 5.0


class _NoVolume(Prior):
    """A prior that forgets to normalise its masses."""

    def log_masses(self, masses: Mapping[int, float]) -> float:
        return 0.0 if super().log_masses(masses) > -math.inf else -math.inf


def test_a_prior_without_its_volumes_misses_the_known_probabilities(small_prior: Prior) -> None:
    wrong = _NoVolume(small_prior.space, ScoreSettings())
    assert worst_pull(small_prior, run(wrong, build_toy(small_prior))) > 5.0


def mean_classes(prior: Prior, content: frozenset[int]) -> float:
    """Posterior mean of the number of classes of a content in the toy."""
    levels = prior.tie_law(tuple(sorted((*content, LBP_PID)))).level_probabilities()
    weights = [(num_classes, p * KAPPA_EVIDENCE**num_classes) for (_, _, num_classes), p in levels.items()]
    return math.fsum(n * w for n, w in weights) / math.fsum(w for _, w in weights)


# --- the joint distribution of states and data (Geweke, J. Amer. Statist. Assoc. 99 (2004) 799) -----------------------------------

NOISE = 1.5


def signal(model: ProtoModel) -> FloatArray:
    """What the data of the toy experiment measure: content, masses, decays and multipliers, all at once."""
    largest = [max(channels.values()) for channels in model.branching_ratios.values() if channels]
    on = [math.log(kappa) for kappa in model.ssms.values() if kappa > 0.0]
    return np.array([
        len(model.masses) + math.fsum(model.masses.values()) / 2000.0,
        math.fsum(largest) + 0.2 * math.fsum(on) / max(1, len(on)) + 0.3 * len(set(on)),
    ])  # fmt: skip


def test_states_and_data_have_their_joint_distribution() -> None:
    """Data drawn from states, states moved by the kernel given the data: together they must return the prior."""
    prior = build_prior(
        ScoreSettings(prior="flat"), particles=(XT, X1W, X2Z), weights=NO_INDEPENDENCE, proposals={"mass_scale_gev": 800.0}
    )  # fmt: skip
    rng = np.random.default_rng(SEED)
    data = np.zeros(2)

    def log_likelihood(model: ProtoModel) -> Weight:
        return Weight(-0.5 * float((((data - signal(model)) / NOISE) ** 2).sum()))

    catalogue = build_catalogue(prior)
    kernel = build_kernel(prior, log_likelihood, catalogue, 1.0)
    state = prior.draw(rng)
    chain = ChainState(state, prior.log_density(state), Weight(0.0), 10**6, first_scales(catalogue))
    found = []
    for step in range(20000):
        if step % 2 == 0:
            data = signal(chain.state.to_protomodel()) + NOISE * rng.normal(size=2)
            chain = replace(chain, weight=log_likelihood(chain.state.to_protomodel()))
            found.append([*functions_of(chain.state, prior), *data, data[0] ** 2, data[0] * data[1]])
        chain, _ = kernel(rng, chain)
    exact = []
    for _ in range(4000):
        state = prior.draw(rng)
        data = signal(state.to_protomodel()) + NOISE * rng.normal(size=2)
        exact.append([*functions_of(state, prior), *data, data[0] ** 2, data[0] * data[1]])
    chains, draws = np.array(found).reshape(2, -1, len(found[0])), np.array(exact)
    for column in range(draws.shape[1]):
        values = chains[..., column]
        error = math.hypot(draws[:, column].std() / math.sqrt(len(draws)), values.std() / math.sqrt(effective_sample_size(values)))
        assert abs(values.mean() - draws[:, column].mean()) < (MAX_PULL + 0.5) * error, column
