"""The normalised prior density of a state, and exact draws from it.

Walk: space, counting ──▶ **prior** ──▶ kernel. With C the content, m the masses, A the open groups, b the branching ratios, z the
tied classes:

    p = π(C) · Π_i p(m_i | m before i) · π(A | C, m) · Π_i Γ(k_i) · π(z | C) · Π_c 1 / ln(κ_max/κ_min)

π(C), π(A) and π(z) are the laws of `builder.sampling.counting` with the score's named prior, each mass is uniform in the interval
`Space.mass_interval` leaves it, branching ratios are flat on the simplex of the k_i open groups, ln κ of each class is uniform (κ_max
being the smallest cap of its processes, if there are any). Every factor is normalised given those before it, so π(C) is the prior
probability of the content whatever the other coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from builder.evaluation import PriorTerms
from builder.sampling.counting import (
    LogWeight,
    TieLaw,
    channel_set_counts,
    draw_channel_sizes,
    draw_index,
    log_law,
)
from builder.sampling.space import Space
from builder.sampling.state import OFF, SamplerState, available_groups, build_state, processes_of
from database.errors import ConfigError
from inference.score import PriorName, ScoreSettings, log_prior
from inference.spectrum import LBP_PID


class Prior:
    """Prior density over the states of a space.

    Args:
        space: what is possible.
        score: names the prior on the counts.

    Raises:
        ConfigError: the named prior depends on the data.
    """

    def __init__(self, space: Space, score: ScoreSettings) -> None:
        if score.prior is PriorName.BIC:
            raise ConfigError("evaluation.score.prior: bic depends on the data; it is a score, not a prior to sample from.")
        self.space = space
        settings = space.settings
        self._particle_weight = _weigh(score, "num_particles")
        self._channel_weight = _weigh(score, "num_branching_ratios")
        self._tie_weight = _weigh(score, "num_ssms")
        self._content_counts = space.content_counts()
        self._content_law = log_law(self._content_counts, self._particle_weight, settings.complexity, offset=1)
        self._channel_law = lru_cache(maxsize=65536)(self._build_channel_law)
        self._tie_law = lru_cache(maxsize=4096)(self._build_tie_law)

    def log_density(self, state: SamplerState) -> float:
        """Return ln p of a state in the coordinates of `builder.sampling.state`; -inf where it is not possible."""
        content = self.log_content(frozenset(state.others))
        if content == -math.inf:
            return -math.inf
        masses = self.log_masses(state.masses)
        if masses == -math.inf:
            return -math.inf
        return content + masses + self.log_decays(state) + self.log_kappas(state)

    def log_content(self, others: frozenset[int]) -> float:
        """Return ln π(C) of the particles beside X_Z^1."""
        return self._content_law[len(others)] if self.space.is_possible(others) else -math.inf

    def log_masses(self, masses: Mapping[int, float]) -> float:
        """Return ln p(m | C), masses in GeV."""
        total = 0.0
        for pid, mass in masses.items():
            interval = self.space.mass_interval(pid, masses)
            if not interval.contains(mass):
                return -math.inf
            total -= math.log(interval.length)
        return total

    def log_decays(self, state: SamplerState) -> float:
        """Return ln p(A, b | C, m)."""
        sizes, total, density = [], 0, 0.0
        for pid in state.others:
            available = available_groups(pid, state.masses, self.space.channels)
            groups = state.decays[pid]
            if not groups or not groups.keys() <= set(available) or min(groups.values()) <= 0.0:
                return -math.inf
            sizes.append(len(available))
            total += len(groups) - 1
            density += math.lgamma(len(groups))
        return self._channel_law(tuple(sizes))[total] + density

    def log_kappas(self, state: SamplerState) -> float:
        """Return ln p(z, κ | C)."""
        if self.space.is_susy_like:
            return 0.0 if all(kappa == 1.0 for kappa in state.kappas) and OFF not in state.kappa_class.values() else -math.inf
        density = 0.0
        for kappa, members in zip(state.kappas, state.class_members(), strict=True):
            low, high = self.space.kappa_range(members)
            if not low <= kappa <= high:
                return -math.inf
            density -= math.log(math.log(high / low))
        variants = processes_of(state.content)
        num_on = total = 0
        for process, number in state.kappa_class.items():
            if number != OFF:
                num_on += 1
                total += len(variants[process])
        law = self.tie_law(state.content)
        return law.log_probability(num_on, total, len(state.kappas)) + density

    def tie_law(self, content: tuple[int, ...]) -> TieLaw:
        """Return the law of tied classes of a content (increasing PDG ids, X_Z^1 included)."""
        return self._tie_law(tuple(len(pairs) for pairs in processes_of(content).values()))

    def draw(self, rng: np.random.Generator) -> SamplerState:
        """Return an exact draw."""
        content = self.draw_content(rng)
        masses: dict[int, float] = {}
        for pid in self.space.mass_order:
            if pid == LBP_PID or pid in content:
                masses[pid] = self.space.mass_interval(pid, masses).at(1.0 - rng.random())
        decays = self.draw_decays(rng, masses)
        variants = processes_of(tuple(sorted(masses)))
        if self.space.is_susy_like:
            return build_state(masses, decays, dict.fromkeys(variants, 0), (1.0,))
        classes = self.tie_law(tuple(sorted(masses))).draw(rng)
        kappas = []
        for number in range(max(classes, default=OFF) + 1):
            low, high = self.space.kappa_range(process for process, label in zip(variants, classes, strict=True) if label == number)
            kappas.append(low * math.exp(math.log(high / low) * rng.random()))
        return build_state(masses, decays, dict(zip(variants, classes, strict=True)), tuple(kappas))

    def draw_content(self, rng: np.random.Generator) -> frozenset[int]:
        """Return the particles beside X_Z^1 of an exact draw from π(C)."""
        levels = [law + math.log(count) if count else -math.inf for law, count in zip(self._content_law, self._content_counts, strict=True)]
        size = draw_index(rng, levels)
        while True:
            chosen = frozenset(int(pid) for pid in rng.choice(self.space.pool, size, replace=False)) if size else frozenset()
            if self.space.is_possible(chosen):
                return chosen

    def draw_decays(self, rng: np.random.Generator, masses: Mapping[int, float]) -> dict[int, dict[str, float]]:
        """Return the branching ratios of an exact draw from p(A, b | C, m), masses in GeV."""
        pids = [pid for pid in sorted(masses) if pid != LBP_PID]
        available = {pid: available_groups(pid, masses, self.space.channels) for pid in pids}
        num_groups = tuple(len(available[pid]) for pid in pids)
        counts = channel_set_counts(num_groups)
        law = self._channel_law(num_groups)
        total = draw_index(rng, [p + math.log(count) for p, count in zip(law, counts, strict=True)])
        decays = {}
        for pid, size in zip(pids, draw_channel_sizes(rng, num_groups, total), strict=True):
            chosen = sorted(rng.choice(len(available[pid]), size, replace=False).tolist())
            shares = rng.dirichlet(np.ones(size))
            decays[pid] = {available[pid][index]: float(share) for index, share in zip(chosen, shares, strict=True)}
        return decays

    def _build_channel_law(self, num_groups: tuple[int, ...]) -> list[float]:
        return log_law(channel_set_counts(num_groups), self._channel_weight, self.space.settings.complexity)

    def _build_tie_law(self, num_variants: tuple[int, ...]) -> TieLaw:
        return TieLaw(num_variants, self._tie_weight, self.space.settings.complexity)


def _weigh(score: ScoreSettings, field: str) -> LogWeight:
    """Return ln w(n) = ln π(n) - ln π(0) of one of the counts; the named priors are products over the three of them."""
    nothing = {"num_particles": 0, "num_branching_ratios": 0, "num_ssms": 0.0}
    zero = log_prior(PriorTerms(**nothing), score)  # type: ignore[arg-type]

    def log_weight(count: float) -> float:
        return log_prior(PriorTerms(**{**nothing, field: count}), score) - zero  # type: ignore[arg-type]

    return log_weight
