"""Runs of the sampler: the same chains on any number of workers, with and without interruptions; what is counted; what is refused."""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builder.protomodel import ProtoModel
from builder.sampling.chain import ChainState, Decision
from builder.sampling.checkpoint import Checkpoint
from builder.sampling.kernel import build_kernel, first_scales
from builder.sampling.likelihood import Weight
from builder.sampling.moves.catalogue import build_catalogue
from builder.sampling.run import InProcess, Workers, run_walkers
from builder.sampling.settings import SamplingSettings
from builder.sampling.tempering import Draw, Ladder, Walker
from builder.walk import step_rng
from database.errors import ConfigError, ModelFormatError
from inference.spectrum import LBP_PID
from inference.types import Outcome
from tests.sampling_toys import X1W, X2Z, XB, XT, build_prior

SEED = 5
IDENTITY = {"campaign.seed": SEED, "sampling.betas": [1.0, 0.4, 0.0]}


def likelihood(model: ProtoModel) -> Weight:
    """A bump in the mass of X_t; X_b below 600 GeV is vetoed, X_W^1 above 1500 GeV cannot be computed."""
    if model.masses.get(XB, math.inf) < 600.0:
        return Weight(-math.inf, is_excluded=True)
    if model.masses.get(X1W, 0.0) > 1500.0:
        return Weight(-math.inf, Outcome.FIT_FAILED, failures={"CMS-SUS-19-006": 1})
    return Weight(3.0 - abs(model.masses[XT] - 800.0) / 200.0 if XT in model.masses else 0.0)


def build_ladder() -> Ladder:
    prior = build_prior(
        particles=(XT, X1W, X2Z, XB), max_particles=4, betas=(1.0, 0.4, 0.0), num_steps=260, burn_in_steps=60, thin=3, swap_every=7
    )
    return Ladder(prior, likelihood, SEED)


def as_text(walkers: dict[int, Walker], draws: tuple[tuple[Draw, ...], ...]) -> str:
    chains = {number: [chain.to_json() for chain in walker.chains] for number, walker in walkers.items()}
    recorded = [[(draw.step, draw.state.to_json(), draw.log_prior, draw.log_likelihood) for draw in some] for some in draws]
    return json.dumps([chains, [walker.exchanges for walker in walkers.values()], recorded])


def run(path: Path, num_steps: int = 260, steps_per_batch: int = 50, num_walkers: int = 3, *, is_new: bool = True) -> str:
    checkpoint = Checkpoint.create(path, IDENTITY) if is_new else Checkpoint.open(path, IDENTITY)
    run_walkers(InProcess(build_ladder()), checkpoint, num_walkers, num_steps, steps_per_batch)
    return as_text(checkpoint.load_walkers(), checkpoint.load_draws())


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run(tmp_path_factory.mktemp("run") / "whole")


@pytest.mark.parametrize("steps_per_batch", [1, 33, 1000])
def test_batches_do_not_matter(tmp_path: Path, reference: str, steps_per_batch: int) -> None:
    assert run(tmp_path / "run", steps_per_batch=steps_per_batch) == reference


@pytest.mark.parametrize("num_workers", [1, 2, pytest.param(8, marks=pytest.mark.slow)])
def test_workers_do_not_matter(tmp_path: Path, reference: str, num_workers: int) -> None:
    checkpoint = Checkpoint.create(tmp_path / "run", IDENTITY)
    with Workers(build_ladder, num_workers) as workers:
        run_walkers(workers, checkpoint, 3, 260, 90)
    assert as_text(checkpoint.load_walkers(), checkpoint.load_draws()) == reference


@pytest.mark.parametrize("cut", [1, 59, 60, 61, 200])
def test_an_interruption_does_not_matter(tmp_path: Path, reference: str, cut: int) -> None:
    """Cuts within and at the end of burn-in, and off the steps at which chains exchange and record."""
    run(tmp_path / "run", num_steps=cut)
    assert run(tmp_path / "run", is_new=False) == reference


def test_a_process_killed_while_it_stores_leaves_the_last_round(tmp_path: Path, reference: str) -> None:
    path = tmp_path / "run"
    run(path, num_steps=100)
    with sqlite3.connect(path) as connection:  # half of a round, never committed
        connection.execute("DELETE FROM walkers")
        connection.rollback()
    connection.close()
    assert run(path, is_new=False) == reference


def test_walkers_can_join_later(tmp_path: Path, reference: str) -> None:
    run(tmp_path / "run", num_walkers=1, num_steps=130)
    assert run(tmp_path / "run", is_new=False) == reference


def test_a_run_that_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    Checkpoint.create(path, IDENTITY)
    with pytest.raises(ConfigError, match=r"campaign.seed was 5 when the run began and is 6 now"):
        Checkpoint.open(path, IDENTITY | {"campaign.seed": 6})
    with pytest.raises(ConfigError, match="exists"):
        Checkpoint.create(path, IDENTITY)
    with pytest.raises(ConfigError, match="nothing to resume"):
        Checkpoint.open(tmp_path / "other", IDENTITY)
    (tmp_path / "text").write_text("no checkpoint at all, but long enough to be read as one" * 50)
    with pytest.raises(ConfigError, match="is not a checkpoint"):
        Checkpoint.open(tmp_path / "text", IDENTITY)
    with pytest.raises(ConfigError, match="cannot be written"):
        Checkpoint.create(tmp_path / "nowhere" / "run", IDENTITY)


def test_damaged_chains_are_refused() -> None:
    ladder = build_ladder()
    document = ladder.start(0).chains[0].to_json()
    assert ChainState.from_json(json.loads(json.dumps(document))) == ladder.start(0).chains[0]
    for damage in ({"format": 0}, {"state": {}}, {"decisions": {"dropped": 1}}, {"weight": {"log_likelihood": "x"}}):
        with pytest.raises(ModelFormatError, match="sampler"):
            ChainState.from_json(document | damage)


def test_widths_adapt_during_burn_in_only() -> None:
    ladder = build_ladder()
    walker = ladder.start(0)
    first = walker.chains[0].scales
    burnt, _ = ladder.advance(walker, 0, 60)
    done, _ = ladder.advance(burnt, 0, 260)
    assert burnt.chains[0].scales != first
    assert all(after.scales == before.scales for before, after in zip(burnt.chains, done.chains, strict=True))
    limit = ladder.settings.proposals.scale_range
    for name, scale in done.chains[0].scales.items():
        assert first[name] / limit <= scale <= first[name] * limit
    assert sum(tried for tried, _ in done.chains[0].tallies.values()) == 200
    assert sum(done.chains[0].decisions.values()) == 200


def test_vetoes_and_failed_fits_have_density_zero_and_are_counted() -> None:
    ladder = build_ladder()
    walker, draws = ladder.advance(ladder.start(1), 1, 4000)
    cold = walker.chains[0]
    assert cold.decisions.get(Decision.EXCLUDED, 0) > 0
    assert cold.decisions.get(Decision.UNEVALUABLE, 0) > 0
    assert cold.failures["CMS-SUS-19-006"] >= cold.decisions[Decision.UNEVALUABLE]
    for draw in draws:
        assert likelihood(draw.state.to_protomodel()).log_likelihood == draw.log_likelihood > -math.inf
        assert ladder.prior.log_density(draw.state) == draw.log_prior
    hot = walker.chains[-1]
    assert not {Decision.EXCLUDED, Decision.UNEVALUABLE} & set(hot.decisions)
    assert all(tried > 0 for tried, _ in walker.exchanges)
    assert any(taken > 0 for _, taken in walker.exchanges)


def test_a_walker_starts_with_x1z_alone_where_nothing_else_can_be_computed() -> None:
    prior = build_prior(betas=(1.0,))
    ladder = Ladder(prior, lambda model: Weight(-math.inf, Outcome.FIT_FAILED), SEED)
    start = ladder.start(0).chains[0]
    assert start.state.content == (LBP_PID,)
    assert start.log_likelihood == 0.0


def test_a_proposal_is_decided_by_the_stated_probability() -> None:
    """Acceptance follows exp(log_alpha): the number accepted agrees with the sum of the probabilities."""
    prior = build_prior(particles=(XT, X1W, X2Z, XB), betas=(1.0,))
    catalogue = build_catalogue(prior)
    kernel = build_kernel(prior, likelihood, catalogue, 1.0)
    state = prior.draw(np.random.default_rng(1))
    while likelihood(state.to_protomodel()).log_likelihood == -math.inf:
        state = prior.draw(np.random.default_rng(2))
    chain = ChainState(state, prior.log_density(state), likelihood(state.to_protomodel()), 10**6, first_scales(catalogue))
    expected, spread, accepted = 0.0, 0.0, 0
    for step in range(3000):
        after, info = kernel(step_rng(SEED, 0, step), chain)
        assert after.step == chain.step + 1
        assert info.move in {weighed.move.name for weighed in catalogue}
        if info.decision in (Decision.ACCEPTED, Decision.REJECTED):
            probability = math.exp(info.log_alpha)
            expected, spread = expected + probability, spread + probability * (1.0 - probability)
            accepted += info.decision is Decision.ACCEPTED
        else:
            assert after.state is chain.state
            assert not math.isfinite(info.log_alpha)
        chain = after
    assert abs(accepted - expected) < 4.0 * math.sqrt(spread)


def test_reversing_a_step_needs_the_same_weight_both_ways() -> None:
    """A catalogue that tries deaths twice as often as births still leaves the prior as it is: the kernel puts the ratio in."""
    prior = build_prior(particles=(XT, X2Z), betas=(1.0,), num_steps=12000, burn_in_steps=10, thin=2, weights={"independent": 0.0})
    catalogue = [
        weighed._replace(probability=weighed.probability * (3.0 if weighed.move.name == "death" else 1.0))
        for weighed in build_catalogue(prior)
    ]
    ladder = Ladder(prior, lambda model: Weight(0.0), SEED, catalogue)
    _, draws = ladder.advance(ladder.start(0), 0, 12000)
    alone = np.mean([draw.state.content == (LBP_PID,) for draw in draws])
    assert alone == pytest.approx(math.exp(prior.log_content(frozenset())), abs=0.06)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"betas": (0.9,)}, "the first of betas is 1"),
        ({"betas": (1.0, 0.5, 0.5)}, "betas fall"),
        ({"kappa_min": 10.0, "kappa_max": 1.0}, "kappa_min is not below kappa_max"),
        ({"likelihood": "fixed"}, "fixed_analyses and the likelihood fixed belong together"),
        ({"num_steps": 10, "burn_in_steps": 10}, "burn_in_steps leaves no step"),
        ({"particles": (LBP_PID,)}, "is not the PDG id of a particle that can be added"),
        ({"weights": dict.fromkeys(SamplingSettings().weights.model_dump(), 0.0)}, "nothing would ever move"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SamplingSettings.model_validate(settings)


def test_chains_of_a_walker_share_no_random_numbers() -> None:
    ladder = build_ladder()
    starts = [chain.state for number in range(3) for chain in ladder.start(number).chains]
    assert len({json.dumps(state.to_json()) for state in starts}) == len(starts)
    again = build_ladder().start(1)
    assert [replace(chain) for chain in again.chains] == list(ladder.start(1).chains)
