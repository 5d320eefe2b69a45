"""The sampler's prior: every law counted by hand or by brute force, every density normalised, restrictions kept."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from builder.moves.settings import WalkSettings
from builder.particle_rules import ParticleRules
from builder.sampling.counting import TieLaw, channel_set_counts, class_count, draw_classes, log_law, stirling
from builder.sampling.moves.catalogue import build_catalogue
from builder.sampling.moves.protocol import propose
from builder.sampling.prior import Prior
from builder.sampling.settings import Complexity, SamplingSettings
from builder.sampling.space import Space, join_intervals
from builder.sampling.state import OFF, SamplerState, available_groups, processes_of
from database.errors import ConfigError
from inference.score import ScoreSettings
from inference.spectrum import LBP_PID
from tests.sampling_toys import MIXED_POOL, X1W, X2W, X2Z, X3Z, XB, XD, XS, XT, XT2, XU, all_contents, build_prior

BOTH = [Complexity.PER_COUNT, Complexity.PER_MODEL]


def partitions(size: int) -> Iterator[tuple[int, ...]]:
    """All ways to switch processes off or tie them, as canonical class numbers."""
    for labels in itertools.product(range(-1, size), repeat=size):
        numbers: dict[int, int] = {}
        if all(label == OFF or numbers.setdefault(label, len(numbers)) == label for label in labels):
            yield labels


# --- counts ----------------------------------------------------------------------------------------------------------------------


def test_contents_are_counted() -> None:
    space = build_prior(particles=(XD, XU, XS, XT, XT2, X2Z)).space
    counts = Counter(len(content) for content in space.possible_contents())
    assert space.content_counts() == tuple(counts[size] for size in range(7))
    assert not space.is_possible(frozenset({XU}))
    assert space.is_possible(frozenset({XD, XS}))
    limited = build_prior(particles=(XD, XU, XS, XT, XT2, X2Z), max_particles=3).space
    assert limited.content_counts() == space.content_counts()[:3]


@pytest.mark.parametrize("complexity", BOTH)
@pytest.mark.parametrize("score", ["expo1", "expo2", "gauss1", "flat", "aic"])
def test_probabilities_of_contents_sum_to_one_and_follow_the_named_prior(complexity: Complexity, score: str) -> None:
    prior = build_prior(ScoreSettings(prior=score), particles=(XD, XU, XT, XT2, X2Z), complexity=complexity)
    probabilities = {content: math.exp(prior.log_content(content)) for content in all_contents(prior)}
    assert math.fsum(probabilities.values()) == pytest.approx(1.0)
    one, two = probabilities[frozenset({XT})], probabilities[frozenset({XT, X2Z})]
    expected = {"expo1": -0.5, "expo2": -1 / 3, "gauss1": -0.5 * (9 - 4) / 4, "flat": 0.0, "aic": -1.0}[score]
    numbers = prior.space.content_counts()
    ratio = math.log(two / one) + (math.log(numbers[2] / numbers[1]) if complexity is Complexity.PER_COUNT else 0.0)
    assert ratio == pytest.approx(expected)


def test_a_prior_that_depends_on_the_data_is_refused() -> None:
    with pytest.raises(ConfigError, match="bic"):
        build_prior(ScoreSettings(prior="bic"))


@pytest.mark.parametrize("complexity", BOTH)
@pytest.mark.parametrize("variants", [(), (1,), (1, 2), (2, 1, 1), (1, 2, 2, 1)])
def test_tied_classes_have_the_stated_law(complexity: Complexity, variants: tuple[int, ...]) -> None:
    def log_weight(count: float) -> float:
        return -count / 3.0

    law = TieLaw(variants, log_weight, complexity)
    weights, found = {}, {}
    for labels in partitions(len(variants)):
        num_on, num_classes = sum(label != OFF for label in labels), len(set(labels) - {OFF})
        total = sum(v for v, label in zip(variants, labels, strict=True) if label != OFF)
        found[labels] = math.exp(law.log_probability(num_on, total, num_classes))
        weights[labels] = math.exp(log_weight(class_count(total, num_classes)))
        if complexity is Complexity.PER_COUNT:
            weights[labels] /= math.comb(len(variants), num_on) * stirling(num_on, num_classes)
    norm = math.fsum(weights.values())
    for labels, weight in weights.items():
        assert found[labels] == pytest.approx(weight / norm)
    assert math.fsum(law.level_probabilities().values()) == pytest.approx(1.0)
    rng = np.random.default_rng(1)
    drawn = Counter(law.draw(rng) for _ in range(4000))
    for labels, probability in found.items():
        assert abs(drawn[labels] - 4000 * probability) < 4.5 * math.sqrt(4000 * probability) + 3


def test_ties_are_drawn_uniformly() -> None:
    rng = np.random.default_rng(2)
    drawn = Counter(draw_classes(rng, 5, 3) for _ in range(5000))
    assert len(drawn) == stirling(5, 3) == 25
    assert all(abs(number - 200) < 4.5 * math.sqrt(200) for number in drawn.values())


@pytest.mark.parametrize("complexity", BOTH)
def test_channel_sets_have_the_stated_law(complexity: Complexity) -> None:
    law = log_law(channel_set_counts((3, 2)), lambda n: -n / 4.0, complexity)
    single = [math.exp(law[len(a) + len(b) - 2]) for a, b in itertools.product(subsets(3), subsets(2))]
    assert len(single) == sum(channel_set_counts((3, 2)))
    assert math.fsum(single) == pytest.approx(1.0)


def subsets(size: int) -> list[tuple[int, ...]]:
    return [some for k in range(1, size + 1) for some in itertools.combinations(range(size), k)]


# --- densities -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [(XT,), (XT, X1W), (XT, XT2, XB), (X1W, X2Z, X3Z), (XD, XU, XS)])
def test_mass_densities_integrate_to_one(content: tuple[int, ...]) -> None:
    """Monte Carlo over the box: the mean of density × volume is one."""
    prior = build_prior()
    rng = np.random.default_rng(3)
    pids, top = (LBP_PID, *content), 2400.0
    values = np.zeros(40000)
    for i, masses in enumerate(rng.uniform(0.0, 1.0, (len(values), len(pids)))):
        model = dict(zip(pids, [10.0 + 1490.0 * masses[0], *(top * masses[1:])], strict=True))
        density = prior.log_masses({pid: float(mass) for pid, mass in model.items()})
        values[i] = math.exp(density + math.log(1490.0) + len(content) * math.log(top)) if density > -math.inf else 0.0
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean() - 1.0) < 4.0 * error


def test_intervals_follow_walls_ordering_corridor_and_thresholds() -> None:
    space = build_prior().space
    masses = {LBP_PID: 100.0}
    assert space.mass_interval(XD, masses) == ((310.0, 2400.0),)
    assert space.mass_interval(X1W, masses) == ((100.0, 2400.0),)
    assert space.mass_interval(X2Z, masses) == ((100.0, 2400.0),)  # off shell below 192 GeV
    assert space.mass_interval(XB, masses) == ((105.0, 2400.0),)
    # t X_Z^1 opens at 273 GeV, but the corridor reaches up to 280 GeV
    assert space.mass_interval(XT, masses) == ((280.0, 2400.0),)
    # b X_W^1 opens earlier; the corridor lies between 250 and 280 GeV
    assert space.mass_interval(XT, masses | {X1W: 200.0}) == ((205.0, 250.0), (280.0, 2400.0))
    assert space.mass_interval(XT2, masses | {XT: 900.0}) == ((900.0, 2400.0),)
    assert space.mass_interval(X3Z, masses | {X2Z: 150.0}) == ((192.0, 2400.0),)
    interval = space.mass_interval(XT, masses | {X1W: 200.0})
    assert interval.rank(250.0) == interval.rank(265.0) == pytest.approx(45.0 / 2165.0)
    assert [interval.at(interval.rank(mass)) for mass in (210.0, 400.0)] == pytest.approx([210.0, 400.0])
    assert join_intervals([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0)]) == ((0.0, 3.0), (5.0, 6.0))


def test_impossible_states_have_density_zero() -> None:
    prior = build_prior()
    group = "6,1000022"
    good = SamplerState({XT: 600.0, LBP_PID: 100.0}, {XT: {group: 1.0}}, {(XT, XT): 0}, (1.0,))
    assert prior.log_density(good) > -math.inf
    masses = {LBP_PID: 100.0, XT: 600.0}
    for state in (
        SamplerState({LBP_PID: 100.0, XT: 260.0}, good.decays, good.kappa_class, good.kappas),
        SamplerState({LBP_PID: 1600.0, XT: 1900.0}, good.decays, good.kappa_class, good.kappas),
        SamplerState(masses, {XT: {"5,1000024": 1.0}}, good.kappa_class, good.kappas),
        SamplerState(masses, {XT: {}}, good.kappa_class, good.kappas),
        SamplerState(masses, {XT: {group: 0.0}}, good.kappa_class, good.kappas),
        SamplerState(masses, good.decays, good.kappa_class, (0.001,)),
        SamplerState({LBP_PID: 100.0, XT2: 600.0}, {XT2: {group: 1.0}}, {(XT2, XT2): 0}, (1.0,)),
    ):
        assert prior.log_density(state) == -math.inf


# --- restrictions ----------------------------------------------------------------------------------------------------------------


def space_of(walk: WalkSettings, **settings: object) -> Space:
    return Space(SamplingSettings.model_validate(settings), walk.rules, walk.particle_pool, walk.pool.caps, walk.pool.susy_like)


def walk_everywhere(prior: Prior, num_steps: int = 400) -> list[SamplerState]:
    """States that draws and moves of all kinds lead to."""
    rng = np.random.default_rng(4)
    catalogue, state, states = build_catalogue(prior), prior.draw(rng), []
    for step in range(num_steps):
        proposal = propose(catalogue[step % len(catalogue)].move, rng, state, 1.0)
        if proposal is not None and prior.log_density(proposal.state) > -math.inf:
            state = proposal.state
        states.append(prior.draw(rng) if step % 10 == 0 else state)
        assert prior.log_density(states[-1]) > -math.inf
    return states


def test_allowed_particles_and_channels_of_the_walk_hold() -> None:
    pool = {"allowed_particles": ("Xt", "X_Z^2", "X_W^1"), "forbidden_channels": {"X_Z^2": ("h X_Z^1",)}}
    space = space_of(WalkSettings.model_validate({"pool": pool}))
    assert space.pool == (XT, X2Z, X1W)
    prior = Prior(space, ScoreSettings())
    states = walk_everywhere(prior)
    groups = {group for state in states if X2Z in state.decays for group in state.decays[X2Z]}
    assert "25,1000022" not in groups
    assert groups
    for state in states:
        model = space.model_of(state)
        assert all((25, LBP_PID) not in channels for channels in model.branching_ratios.values())


def test_channels_of_a_catalogue_are_used_and_exchanged() -> None:
    """X_Z^2 and X_W^1 decay to slepton-like states; generations that exchange their roles take these channels along."""
    pool = {"catalogue": "sleptons", "allowed_particles": ("Xe", "Xnue", "Xmu", "Xnumu", "X_Z^2", "X_W^1")}
    space = space_of(WalkSettings.model_validate({"pool": pool}), complexity=Complexity.PER_MODEL)
    prior = Prior(space, ScoreSettings(prior="flat"))
    swap = next(weighed.move for weighed in build_catalogue(prior) if weighed.move.name == "swap")
    rng, renamed = np.random.default_rng(5), set()
    for _ in range(300):
        state = prior.draw(rng)
        proposal = propose(swap, rng, state)
        if proposal is None or prior.log_density(proposal.state) == -math.inf:
            continue
        assert proposal.log_ratio == 0.0
        back = swap.apply(proposal.state, proposal.reverse_choice)
        assert back is not None
        assert back.state == state
        renamed |= set(proposal.state.decays.get(X2Z, {})) - set(state.decays.get(X2Z, {}))
    assert renamed >= {"-11,1000011", "-13,1000013"}


def test_caps_of_processes_hold() -> None:
    pool = {"allowed_particles": ("X_Z^2", "X_W^1"), "ssm_caps": {"X_W^1 X_Z^2": 2.0}}
    prior = Prior(space_of(WalkSettings.model_validate({"pool": pool})), ScoreSettings())
    states = walk_everywhere(prior, 1500)
    kappas = {process: [] for process in processes_of((LBP_PID, X2Z, X1W))}
    for state in states:
        for process, number in state.kappa_class.items():
            if number != OFF:
                kappas[process].append(state.kappas[number])
    assert max(kappas[X2Z, X1W]) <= 2.0 < max(kappas[X1W, X1W])
    with pytest.raises(ConfigError, match="ssm_caps"):
        space_of(WalkSettings.model_validate({"pool": {"ssm_caps": {"X_W^1 X_Z^2": 0.001}}}))


def test_susy_like_models_keep_their_reference_cross_sections() -> None:
    prior = Prior(space_of(WalkSettings.model_validate({"pool": {"susy_like": True}})), ScoreSettings())
    assert not {weighed.move.name for weighed in build_catalogue(prior)} & {"kappa_class", "kappa_on", "mass_constant_xsec"}
    for state in walk_everywhere(prior):
        assert set(state.kappas) <= {1.0}
        assert set(state.kappa_class.values()) <= {0}


def test_ceilings_hold() -> None:
    rules = ParticleRules(ceilings_gev={XT: 900.0, LBP_PID: 400.0})
    states = walk_everywhere(build_prior(rules=rules, particles=MIXED_POOL, max_lbp_mass_gev=300.0))
    assert max(state.masses[XT] for state in states if XT in state.masses) <= 900.0
    with pytest.raises(ConfigError, match=r"ceilings_gev: X_t\^2 may not have a lower ceiling"):
        build_prior(rules=ParticleRules(ceilings_gev={XT2: 900.0}), max_lbp_mass_gev=300.0)
    with pytest.raises(ConfigError, match="needs room"):
        build_prior(rules=ParticleRules(ceilings_gev={XT: 900.0}))


def test_particles_that_would_have_no_channel_are_refused() -> None:
    walk = WalkSettings.model_validate({"pool": {"allowed_channels": {"X_t^1": ("b X_W^1",)}}})
    with pytest.raises(ConfigError, match=r"X_t\^1 has no channel into X_Z\^1"):
        space_of(walk)


def test_masses_between_an_off_shell_and_a_later_on_shell_channel_are_left_out() -> None:
    """Without Z X_Z^1 the off-shell modes end at 92 GeV and h X_Z^1 opens at 125 GeV."""
    space = space_of(WalkSettings.model_validate({"pool": {"forbidden_channels": {"X_Z^2": ("Z X_Z^1",)}}}))
    masses = {LBP_PID: 100.0}
    assert space.mass_interval(X2Z, masses) == ((100.0, 192.0), (225.0, 2400.0))
    assert available_groups(X2Z, masses | {X2Z: 200.0}, space.channels) == ()


def test_particles_whose_lighter_partner_is_out_are_out() -> None:
    assert build_prior(particles=(X2W, X2Z, X3Z)).space.pool == (X2Z, X3Z)
