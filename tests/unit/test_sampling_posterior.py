"""What a run of the sampler says: diagnostics against ArviZ, probabilities with errors, slices, the NetCDF file."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from builder.protomodel import ProtoModel
from builder.sampling.diagnostics import agreement, count_switches, effective_sample_size, r_hat
from builder.sampling.likelihood import Weight
from builder.sampling.netcdf import ABSENT, build_inference_data, write_netcdf
from builder.sampling.posterior import PosteriorSummary, content_label, k_of, slice_of, summarise
from builder.sampling.prior import Prior
from builder.sampling.tempering import Draw, Ladder
from database.errors import ConfigError
from inference.score import ScoreSettings
from inference.spectrum import LBP_PID
from inference.types import FloatArray
from tests.sampling_toys import X1W, X2Z, XT, build_prior

SCORE = ScoreSettings()


@pytest.fixture(scope="module")
def arviz() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("arviz", reason="needs the extra 'sampling'")


def autoregressive(rho: float, num_chains: int, size: int) -> FloatArray:
    rng = np.random.default_rng(7)
    values = np.zeros((num_chains, size))
    for i in range(1, size):
        values[:, i] = rho * values[:, i - 1] + rng.normal(size=num_chains)
    return values


@pytest.mark.parametrize("rho", [-0.3, 0.0, 0.5, 0.95])
def test_effective_sample_sizes_and_r_hat_are_those_of_arviz(arviz: ModuleType, rho: float) -> None:
    chains = autoregressive(rho, 4, 1001)
    assert effective_sample_size(chains) == pytest.approx(float(arviz.ess(chains, method="mean")), rel=0.05)
    assert r_hat(chains) == pytest.approx(float(arviz.rhat(chains)), rel=1e-9)


def test_effective_sample_size_of_an_autoregressive_series() -> None:
    """N (1 - ρ)/(1 + ρ) independent draws."""
    assert effective_sample_size(autoregressive(0.8, 4, 20000)) == pytest.approx(80000 / 9, rel=0.1)


def test_diagnostics_say_nothing_where_nothing_happens() -> None:
    for chains in (np.ones((2, 100)), np.zeros((3, 6))):
        assert math.isnan(effective_sample_size(chains))
        assert math.isnan(r_hat(chains))
        assert math.isnan(agreement(chains))


def test_walkers_that_disagree_are_noticed() -> None:
    rng = np.random.default_rng(8)
    same = (rng.random((4, 2000)) < 0.3).astype(float)
    apart = (rng.random((4, 2000)) < np.array([[0.2], [0.3], [0.4], [0.3]])).astype(float)
    assert agreement(same) > 0.01
    assert agreement(apart) < 1e-6
    assert r_hat(apart + rng.normal(scale=0.01, size=apart.shape)) > 1.005
    assert math.isnan(agreement(same[:1]))
    assert count_switches(np.array([[1, 1, 2], [3, 4, 3]])) == 3


def test_walkers_that_never_move_tell_nothing_of_their_agreement() -> None:
    assert math.isnan(agreement(np.array([[1.0] * 50, [0.0] * 50])))


def test_p_values_of_agreement_are_uniform() -> None:
    """Markov chains that switch on and off, all alike."""
    rng = np.random.default_rng(9)
    values = []
    for _ in range(150):
        chains = np.zeros((4, 1500))
        for step in range(1, 1500):
            flips = rng.random(4) < np.where(chains[:, step - 1] > 0.0, 0.2, 0.1)
            chains[:, step] = np.where(flips, 1.0 - chains[:, step - 1], chains[:, step - 1])
        values.append(agreement(chains))
    assert 0.35 < np.mean(values) < 0.65
    assert np.mean(np.array(values) < 0.05) < 0.12


# --- a run -----------------------------------------------------------------------------------------------------------------------


def likelihood(model: ProtoModel) -> Weight:
    return Weight(2.0 if XT in model.masses else 0.0)


@pytest.fixture(scope="module")
def prior() -> Prior:
    return build_prior(particles=(XT, X1W, X2Z), betas=(1.0, 0.0), num_steps=4000, burn_in_steps=400, thin=2)


@pytest.fixture(scope="module")
def draws(prior: Prior) -> list[list[Draw]]:
    ladder = Ladder(prior, likelihood, 3)
    return [ladder.advance(ladder.start(number), number, 4000)[1] for number in range(3)]


@pytest.fixture(scope="module")
def summary(prior: Prior, draws: list[list[Draw]]) -> PosteriorSummary:
    return summarise(draws, prior, SCORE)


def test_probabilities_and_bayes_factors_are_right(prior: Prior, summary: PosteriorSummary) -> None:
    """Contents with X_t are e² = 7.4 times as probable as the prior says, in units of X_Z^1 alone."""
    assert math.fsum(entry.probability for entry in summary.contents) == pytest.approx(1.0)
    probabilities = [entry.probability for entry in summary.contents]
    assert probabilities == sorted(probabilities, reverse=True)
    weights = {c: math.exp(prior.log_content(c) + (2.0 if XT in c else 0.0)) for c in prior.space.possible_contents()}
    for entry in summary.contents:
        others = frozenset(entry.content) - {LBP_PID}
        assert entry.prior_probability == pytest.approx(math.exp(prior.log_content(others)))
        assert abs(entry.probability - weights[others] / math.fsum(weights.values())) < 4.0 * entry.error + 0.005
        assert math.fsum(entry.per_walker) / 3 == pytest.approx(entry.probability)
        assert entry.num_draws == round(entry.probability * 3 * summary.num_draws)
    by_label = {entry.label: entry for entry in summary.contents}
    assert by_label["X1Z"].bayes_factor == pytest.approx(1.0)
    assert by_label["Xt X1Z"].bayes_factor == pytest.approx(math.exp(2.0), rel=0.35)
    assert all(entry.agreement > 1e-3 for entry in summary.contents[:4])
    assert summary.num_switches > 300
    assert summary.r_hat < 1.05
    assert by_label["Xt X1Z"].r_hat < 1.1


def test_k_of_a_draw_is_that_of_its_model(prior: Prior, draws: list[list[Draw]], summary: PosteriorSummary) -> None:
    """Alone X_Z^1 costs 2 ln π = -1; the best K of X_t with one process is 4 - 2 · (2/2 + 1/8) = 1.75."""
    by_label = {entry.label: entry for entry in summary.contents}
    assert by_label["X1Z"].best_k == pytest.approx(-1.0)
    # a stop so heavy, or so weakly produced, that its cross section does not count saves the last 0.25
    assert by_label["Xt X1Z"].best_k == pytest.approx(2.0)
    first = next(draw for draw in draws[0] if draw.state.content == (LBP_PID,))
    assert k_of(first, prior.space, SCORE) == pytest.approx(-1.0)


def test_slices_hold_one_content(draws: list[list[Draw]]) -> None:
    content = tuple(sorted((XT, LBP_PID)))
    slices = slice_of(draws, content)
    assert {len(some) for some in slices} == {min(sum(draw.state.content == content for draw in some) for some in draws)}
    assert all(draw.state.content == content for some in slices for draw in some)
    assert content_label(content) == "Xt X1Z"


def test_the_file_holds_what_was_drawn(
    arviz: ModuleType, prior: Prior, draws: list[list[Draw]], summary: PosteriorSummary, tmp_path: Path
) -> None:
    data = build_inference_data(draws, summary, prior.space, SCORE, {"seed": 3, "results": "toy"})
    path = tmp_path / "posterior.nc"
    write_netcdf(data, path)
    assert not list(tmp_path.glob("*.partial"))
    again = arviz.from_netcdf(str(path))
    posterior = again.posterior
    assert posterior.attrs["seed"] == 3
    assert posterior.sizes["chain"] == 3
    assert posterior.sizes["draw"] == len(draws[0])
    for w, d in ((0, 0), (1, 17), (2, len(draws[2]) - 1)):
        draw = draws[w][d]
        here = posterior.isel(chain=w, draw=d)
        for pid, name in ((LBP_PID, "X1Z"), (XT, "Xt"), (X1W, "X1W")):
            mass = float(here.mass.sel(particle=name))
            assert mass == draw.state.masses[pid] if pid in draw.state.masses else math.isnan(mass)
        number = draw.state.kappa_class.get((XT, XT), ABSENT)
        assert int(here.kappa_class.sel(process="Xt Xt")) == number
        kappa = float(here.kappa.sel(process="Xt Xt"))
        expected = {ABSENT: math.nan, -1: 0.0}.get(number, draw.state.kappas[number] if number >= 0 else math.nan)
        assert kappa == pytest.approx(expected, nan_ok=True)
        ratio = float(here.branching_ratio.sel(channel="Xt -> 6,1000022"))
        assert ratio == pytest.approx(draw.state.decays[XT].get("6,1000022", 0.0) if XT in draw.state.decays else math.nan, nan_ok=True)
        assert str(again.contents.label[int(here.content)].item()) == content_label(draw.state.content)
        assert float(again.sample_stats.lp.isel(chain=w, draw=d)) == draw.log_prior + draw.log_likelihood
    assert again.posterior_01.attrs["content"] == summary.contents[0].label
    label = next(name for name in again.groups() if again[name].attrs.get("content") == "Xt X1Z")
    assert float(arviz.rhat(again[label].mass).mass.max()) < 1.1
    assert not np.isnan(again[label].mass).any()
    np.testing.assert_allclose(again.contents.probability, [entry.probability for entry in summary.contents])


def test_a_file_that_cannot_be_written_is_one_sentence(
    arviz: ModuleType, prior: Prior, draws: list[list[Draw]], summary: PosteriorSummary, tmp_path: Path
) -> None:
    assert arviz is not None
    data = build_inference_data(draws, summary, prior.space, SCORE, {})
    with pytest.raises(ConfigError, match="cannot be written"):
        write_netcdf(data, tmp_path / "nowhere" / "posterior.nc")
