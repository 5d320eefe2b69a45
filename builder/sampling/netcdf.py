"""A run as ArviZ InferenceData, and as NetCDF.

Walk: posterior ──▶ **netcdf**. Groups:

- posterior: every recorded draw of the cold chains, dimensions (chain, draw). Particles, channel groups and processes that no draw has
  are left out; a mass, branching ratio or κ is nan where its particle is frozen, 0 where the channel is closed or the process off.
- sample_stats: lp (prior and likelihood), log_prior, log_likelihood, k, step.
- contents: probabilities, errors, effective sample sizes, agreement and R-hat per content.
- posterior_01, posterior_02, ...: the fixed-content slices of the most probable contents, cut to the walker with the fewest draws; the
  attribute `content` names the particles.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from builder.particles import particle_of
from builder.sampling.posterior import PosteriorSummary, equal_lengths, k_of, slice_of
from builder.sampling.space import Space
from builder.sampling.state import OFF
from builder.sampling.tempering import Draw
from database.errors import ConfigError
from inference.score import ScoreSettings

if TYPE_CHECKING:
    import arviz

MAX_SLICES = 10
"""Fixed-content slices that are written."""

ABSENT = -2
"""Class of a process whose particles are frozen."""


def import_arviz() -> Any:
    """Return the arviz package.

    Raises:
        ConfigError: it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # arviz announces its next release on import
        try:
            import arviz
        except ImportError as error:
            raise ConfigError(
                f"posteriors need the packages of the extra 'sampling' ({error}): pip install 'protomodels[sampling]'."
            ) from None
    return arviz


def build_inference_data(
    draws: Sequence[Sequence[Draw]],
    summary: PosteriorSummary,
    space: Space,
    score: ScoreSettings,
    attributes: Mapping[str, str | int | float],
) -> arviz.InferenceData:
    """Return the InferenceData of a run.

    Args:
        draws: what the cold chain of each walker recorded.
        summary: from `builder.sampling.posterior.summarise`.
        space: the sampled space.
        score: prior of K.
        attributes: stored with the posterior, e.g. seed and versions.

    Raises:
        ConfigError: arviz is not installed.
    """
    import xarray

    az = import_arviz()
    chains = equal_lengths(draws)
    contents = [entry.content for entry in summary.contents]
    posterior = _coordinates(chains)
    index = {content: number for number, content in enumerate(contents)}
    posterior["content"] = (("chain", "draw"), np.array([[index[draw.state.content] for draw in some] for some in chains]))
    posterior["num_particles"] = (("chain", "draw"), np.array([[len(draw.state.content) for draw in some] for some in chains]))
    stats = {
        "lp": [[draw.log_prior + draw.log_likelihood for draw in some] for some in chains],
        "log_prior": [[draw.log_prior for draw in some] for some in chains],
        "log_likelihood": [[draw.log_likelihood for draw in some] for some in chains],
        "k": [[k_of(draw, space, score) for draw in some] for some in chains],
        "step": [[draw.step for draw in some] for some in chains],
    }
    groups = {
        "posterior": xarray.Dataset(posterior, attrs=dict(attributes)),
        "sample_stats": xarray.Dataset({name: (("chain", "draw"), np.array(values)) for name, values in stats.items()}),
        "contents": _content_table(xarray, summary),
    }
    for number, content in enumerate(contents[:MAX_SLICES], start=1):
        attrs = {"content": summary.contents[number - 1].label}
        groups[f"posterior_{number:02d}"] = xarray.Dataset(_coordinates(slice_of(chains, content)), attrs=attrs)
    data: arviz.InferenceData = az.InferenceData(**groups, warn_on_custom_groups=False)
    return data


def write_netcdf(data: arviz.InferenceData, path: Path) -> None:
    """Write InferenceData to a file; what stood there stays until the new file is complete.

    Raises:
        ConfigError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        data.to_netcdf(str(partial), engine="h5netcdf")
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}.") from None


def _coordinates(chains: Sequence[Sequence[Draw]]) -> dict[str, tuple[tuple[str, ...], Any] | Any]:
    """Return masses, branching ratios and κ of the draws as arrays with names."""
    states = [[draw.state for draw in some] for some in chains]
    everything = [state for some in states for state in some]
    particles = sorted({pid for state in everything for pid in state.masses})
    groups = list(dict.fromkeys((pid, group) for state in everything for pid in state.decays for group in state.decays[pid]))
    groups.sort(key=lambda item: item[0])
    processes = sorted({process for state in everything for process in state.kappa_class})
    shape = (len(states), len(states[0]))
    mass = np.full((*shape, len(particles)), math.nan)
    br, kappa = np.full((*shape, len(groups)), math.nan), np.full((*shape, len(processes)), math.nan)
    tie = np.full((*shape, len(processes)), ABSENT, dtype=np.int16)
    for w, some in enumerate(states):
        for d, state in enumerate(some):
            for i, pid in enumerate(particles):
                mass[w, d, i] = state.masses.get(pid, math.nan)
            for i, (pid, group) in enumerate(groups):
                if pid in state.decays:
                    br[w, d, i] = state.decays[pid].get(group, 0.0)
            for i, process in enumerate(processes):
                if process in state.kappa_class:
                    number = state.kappa_class[process]
                    tie[w, d, i], kappa[w, d, i] = number, 0.0 if number == OFF else state.kappas[number]
    return {
        "chain": np.arange(shape[0]),
        "draw": np.arange(shape[1]),
        "particle": [particle_of(pid).ascii_id for pid in particles],
        "channel": [f"{particle_of(pid).ascii_id} -> {group}" for pid, group in groups],
        "process": [" ".join(particle_of(pid).ascii_id for pid in process) for process in processes],
        "mass": (("chain", "draw", "particle"), mass),
        "branching_ratio": (("chain", "draw", "channel"), br),
        "kappa": (("chain", "draw", "process"), kappa),
        "kappa_class": (("chain", "draw", "process"), tie),
    }


def _content_table(xarray: Any, summary: PosteriorSummary) -> Any:
    entries = summary.contents
    columns = (
        "probability", "error", "ess", "prior_probability", "bayes_factor", "bayes_factor_error",
        "agreement", "r_hat", "num_draws", "best_k",
    )  # fmt: skip
    table: dict[str, Any] = {name: (("content",), np.array([getattr(entry, name) for entry in entries])) for name in columns}
    table["per_walker"] = (("content", "chain"), np.array([entry.per_walker for entry in entries]))
    table["label"] = (("content",), np.array([entry.label for entry in entries], dtype=object))
    attrs = {"num_switches": summary.num_switches, "switch_ess": summary.switch_ess, "r_hat": summary.r_hat}
    return xarray.Dataset(table, attrs=attrs)
