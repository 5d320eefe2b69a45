"""Likelihoods of a batch of models on an accelerator: every region, pair of limits and covariance model on a grid of μ, with JAX.

    python -m benchmarks.batch_jax collect MODELS.json PROBLEMS.npz [--results STORE]
    python -m benchmarks.batch_jax run PROBLEMS.npz [--sizes 64 1024 16384] [--max-cpu 1024] [--chunk 16384]

`collect` writes what the likelihoods of the models ask (counts, backgrounds, yields, limits) with the answers and the time of our own
kernels on one core. `run` needs numpy and JAX only, so that it can go to a machine with an accelerator: it profiles everything at all
μ in float64, compares with our answers (1e-8) and prints models/s per device. Larger batches repeat the models with scaled signals.

Regions and limits are padded to the longest list of a model. Covariance models are grouped by analysis, and the number of models that
populate each is padded to a power of two, so that each shape is compiled once. Their nuisances are fitted within their bounds by
projected Newton steps (Bertsekas, SIAM J. Control Optim. 20 (1982) 221), all problems of an analysis in step until the last is done.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from builder.evaluate import Evaluator
    from builder.protomodel import ProtoModel

MU_GRID = np.linspace(0.0, 3.0, 16)
TOLERANCE = 1e-8
MAX_ITERATIONS = 200
NUM_LENGTHS = 6
ROUNDING = 1e-14
SMALLEST_GAIN = 1e-10
"""A fit is done when the next step promises to lower -ln L by less."""
Array = NDArray[Any]
REGION_FIELDS = ("observed", "background", "error", "signal")
LIMIT_FIELDS = ("centre", "sigma")
ANALYSIS_FIELDS = ("precision", "sd", "bend", "offset", "counts", "lower", "upper", "start", "constant", "yields", "owner")


class Problems(NamedTuple):
    """What the likelihoods of a batch ask.

    Attributes:
        regions: observed, background, error, signal [events] of single regions, shape (num_models, num_regions); signal 0: padding.
        limits: centre and width of truncated Gaussians, shape (num_models, num_limits); width 1, centre 0: padding.
        analyses: per covariance model what does not depend on the signal, the yields, shape (num_populated, num_bins), and the
            number of the model each belongs to.
    """

    regions: Mapping[str, Array]
    limits: Mapping[str, Array]
    analyses: Sequence[Mapping[str, Array]]

    @property
    def num_models(self) -> int:
        """Models in the batch."""
        return int(self.regions["signal"].shape[0])


def collect(evaluator: Evaluator, models: Sequence[ProtoModel]) -> tuple[Problems, dict[str, Array], float]:
    """The problems of some models, our answers (-ln L at every μ), and the CPU time of our kernels per model [s]."""
    from inference.analysis_models.registry import find_analysis_model
    from inference.likelihoods.covariance import CovarianceModel
    from inference.likelihoods.truncated_gaussian import build_truncated_gaussian
    from inference.settings import Conventions
    from inference.types import DataKind, Outcome, PredictionKind

    store = evaluator.store
    found = [evaluator.predictor.predict(model.spectrum()) for model in models]
    lumi = np.array([record.lumi_ifb for record in store.results])
    regions, limits, gaussians = [], [], []
    for predictions in found:
        rows = np.flatnonzero(predictions.kind == PredictionKind.EFFICIENCY_MAP)
        datasets = predictions.dataset[rows]
        signal = predictions.xsec_fb[rows] * lumi[predictions.result[rows]]
        regions.append(np.stack((store.observed_n[datasets], store.expected_bg[datasets], store.bg_error[datasets], signal), axis=1))
        rows = np.flatnonzero(predictions.kind == PredictionKind.UPPER_LIMIT)
        pairs = zip(predictions.xsec_fb[rows], predictions.ul_obs_fb[rows], predictions.ul_exp_fb[rows], strict=True)
        curves = [build_truncated_gaussian(float(xsec), float(observed), float(expected)) for xsec, observed, expected in pairs]
        gaussians.append([curve for curve in curves if curve.outcome is Outcome.OK])
        limits.append(np.array([(curve.centre, curve.sigma_mu) for curve in gaussians[-1]]).reshape(-1, 2))
    analyses, likelihoods = [], []
    for result in sorted({result for predictions in found for result in predictions.region_yields}):
        model = find_analysis_model(store, result, Conventions.DEFAULT)
        if not isinstance(model, CovarianceModel):
            continue
        owner = [number for number, predictions in enumerate(found) if result in predictions.region_yields]
        yields = np.array([found[number].region_yields[result] for number in owner])
        data = model.data(DataKind.OBSERVED)
        likelihoods.append([model.likelihood(row) for row in yields])
        values = (model.precision, model.sd, model.bend, model.offset, data.counts, data.lower, data.upper)
        start, constant = model.background_fit(DataKind.OBSERVED).pulls, np.array(model.log_norm + data.log_factorials)
        analyses.append(dict(zip(ANALYSIS_FIELDS, (*values, start, constant, yields, np.array(owner)), strict=True)))
    problems = Problems(
        dict(zip(REGION_FIELDS, _pad(regions, (0.0, 1.0, 1.0, 0.0)), strict=True)),
        dict(zip(LIMIT_FIELDS, _pad(limits, (0.0, 1.0)), strict=True)),
        analyses,
    )
    start_s = time.process_time()
    answers = _our_answers(regions, gaussians, likelihoods, problems)
    return problems, answers, (time.process_time() - start_s) / len(models)


def _our_answers(regions: Sequence[Array], gaussians: Sequence[Sequence[Any]], likelihoods: Sequence[Sequence[Any]], problems: Problems):
    from inference.likelihoods.single_region import profile_arrays
    from inference.settings import Conventions

    shape = problems.num_models, MU_GRID.size
    answers = {
        "regions": np.zeros((*shape, problems.regions["signal"].shape[1])),
        "limits": np.zeros((*shape, problems.limits["centre"].shape[1])),
    }
    for number, rows in enumerate(regions):
        columns = [np.ascontiguousarray(column) for column in rows.T]
        for k, mu in enumerate(MU_GRID.tolist()):
            answers["regions"][number, k, : len(rows)] = profile_arrays(mu, *columns, Conventions.DEFAULT).nll
            answers["limits"][number, k, : len(gaussians[number])] = [curve.nll(mu) for curve in gaussians[number]]
    for number, curves in enumerate(likelihoods):
        answers[f"analysis{number}"] = np.array([[curve.nll(mu) for mu in MU_GRID.tolist()] for curve in curves])
    return answers


def _pad(lists: Sequence[Array], padding: Sequence[float]) -> list[Array]:
    """One array of shape (num_models, longest) per column."""
    longest = max((len(rows) for rows in lists), default=0)
    padded = [np.full((len(lists), longest), value) for value in padding]
    for number, rows in enumerate(lists):
        for column, values in zip(padded, rows.T, strict=True):
            column[number, : len(rows)] = values
    return padded


def enlarge(problems: Problems, num_models: int) -> Problems:
    """A batch of another size: the models again and again, signals a little larger each time."""
    source = np.arange(num_models) % problems.num_models
    scale = 1.0 + 0.01 * (np.arange(num_models) // problems.num_models)
    regions = {name: values[source] for name, values in problems.regions.items()}
    regions["signal"] = regions["signal"] * scale[:, None]
    limits = {name: values[source] / scale[:, None] for name, values in problems.limits.items()}
    analyses = []
    for analysis in problems.analyses:
        rows = [np.flatnonzero(analysis["owner"] == number) for number in source.tolist()]
        taken = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
        owner = np.repeat(np.arange(num_models), [len(row) for row in rows])
        if owner.size:
            analyses.append({**analysis, "yields": analysis["yields"][taken] * scale[owner, None], "owner": owner})
    return Problems(regions, limits, analyses)


def region_nll(mu: Any, observed: Any, background: Any, error: Any, signal: Any) -> Any:
    """-ln L of single regions as in `inference.likelihoods.single_region`, default conventions, error > 0."""
    import jax.numpy as jnp
    from jax.scipy.special import gammaln

    variance = error * error
    without = background + mu * signal
    shifted = without - variance
    root = jnp.sqrt(shifted * shifted + 4.0 * variance * observed)
    mean = jnp.where(shifted >= 0.0, 0.5 * (shifted + root), 2.0 * variance * observed / jnp.where(shifted < 0.0, root - shifted, 1.0))
    theta = jnp.maximum(jnp.where(observed == 0.0, -variance, mean - without), -background)
    mean = jnp.maximum(without + theta, 0.0)
    log_mean = jnp.where(observed > 0.0, observed * jnp.log(jnp.where(mean > 0.0, mean, 1.0)), 0.0)
    penalty = 0.5 * theta * theta / variance + jnp.log(error) + 0.5 * math.log(2.0 * math.pi)
    return mean - log_mean + gammaln(observed + 1.0) + penalty


def limit_nll(mu: Any, centre: Any, sigma: Any) -> Any:
    """-ln L of truncated Gaussians as in `inference.likelihoods.truncated_gaussian`."""
    import jax.numpy as jnp
    from jax.scipy.special import log_ndtr

    pull = (mu - centre) / sigma
    return 0.5 * pull * pull + jnp.log(sigma) + 0.5 * math.log(2.0 * math.pi) + log_ndtr(centre / sigma)


class _Fit(NamedTuple):
    x: Any
    value: Any
    is_done: Any
    iteration: Any


def covariance_nll(mu: Any, signal: Any, model: Mapping[str, Any], is_bent: bool) -> Any:
    """-ln L of one signal in a covariance model at one μ, nuisances profiled; nan if the fit does not end."""
    import jax
    import jax.numpy as jnp

    counts, precision, sd, bend, lower, upper = (model[name] for name in ("counts", "precision", "sd", "bend", "lower", "upper"))
    centre = model["offset"] + mu * signal
    is_seen = counts > 0.0

    def mean_at(x: Any) -> Any:
        return centre + (sd + bend * x) * x

    def objective(x: Any) -> Any:
        mean = mean_at(x)
        safe = jnp.where(mean > 0.0, mean, 1.0)
        poisson = jnp.where(is_seen, mean - counts * jnp.log(safe), jnp.maximum(mean, 0.0))
        is_nothing = mean <= ROUNDING * (jnp.abs(centre) + sd * jnp.abs(x))  # at the bound, where b + θ is 0 but for rounding
        return jnp.where((is_seen & is_nothing).any(), jnp.inf, 0.5 * x @ (precision @ x) + poisson.sum())

    def newton_step(gradient: Any, weight: Any, is_held: Any) -> Any:
        free = ~is_held
        hessian = jnp.where(free[:, None] & free[None, :], precision, 0.0) + jnp.diag(jnp.where(free, weight, 1.0))
        factor = jnp.linalg.cholesky(hessian)
        return -jax.scipy.linalg.cho_solve((factor, True), jnp.where(free, gradient, 0.0))

    def advance(fit: _Fit) -> _Fit:
        x = fit.x
        mean = jnp.maximum(mean_at(x), 1e-300)
        tilt = sd + 2.0 * bend * x
        slope = jnp.where(is_seen, 1.0 - counts / mean, 1.0)
        curved = jnp.where(is_seen, tilt * tilt * counts / (mean * mean), 0.0)
        gradient = precision @ x + slope * tilt
        margin = jnp.minimum(1e-8, jnp.abs(gradient).max())
        is_held = ((x <= lower + margin) & (gradient > 0.0)) | ((x >= upper - margin) & (gradient < 0.0))
        step = newton_step(gradient, curved + 2.0 * bend * slope, is_held)
        if is_bent:  # where the Hessian is not positive definite, drop what bends the wrong way
            safe_step = newton_step(gradient, curved + jnp.maximum(2.0 * bend * slope, 0.0), is_held)
            step = jnp.where(jnp.isfinite(step).all(), step, safe_step)
        # along the scaled gradient, should no Newton step lead down: with many bounds in the way it need not
        diagonal = jnp.diag(precision) + curved + jnp.maximum(2.0 * bend * slope, 0.0)
        lengths = 0.25 ** jnp.arange(NUM_LENGTHS)[:, None]
        trials = jnp.clip(x + jnp.concatenate((lengths * step, -lengths * gradient / diagonal)), lower, upper)
        values = jax.vmap(objective)(trials)
        promised = (trials - x) @ gradient
        is_lower = values <= fit.value + 1e-4 * promised + 1e-13 * (1.0 + jnp.abs(fit.value))
        best = jnp.argmax(is_lower)
        has_moved = is_lower[best]
        is_done = jnp.abs(promised[0]) < SMALLEST_GAIN
        x, value = jnp.where(has_moved, trials[best], x), jnp.where(has_moved, values[best], fit.value)
        return _Fit(x, value, is_done, jnp.where(has_moved | is_done, fit.iteration + 1, MAX_ITERATIONS))

    start = jnp.clip(model["start"], lower, upper)
    is_impossible = is_seen & (mean_at(start) <= 0.0)
    start = jnp.where(is_impossible, jnp.clip((counts - centre) / sd, lower, upper), start)
    first = _Fit(start, objective(start), jnp.array(False), jnp.array(0))
    last = jax.lax.while_loop(lambda fit: ~fit.is_done & (fit.iteration < MAX_ITERATIONS), advance, first)
    return jnp.where(last.is_done, last.value + model["constant"], jnp.nan)


def build_profiles(device: Any, chunk: int) -> Callable[[Problems], dict[str, Array]]:
    """The function that profiles a batch on a device: -ln L per model (or model that populates the analysis), μ and likelihood.

    Args:
        device: of JAX.
        chunk: fits (models × μ) of one analysis that are made in step.
    """
    import jax
    import jax.numpy as jnp

    mu_grid = jax.device_put(jnp.asarray(MU_GRID), device)
    regions_fn = jax.jit(jax.vmap(region_nll, in_axes=(0, None, None, None, None), out_axes=1))
    limits_fn = jax.jit(jax.vmap(limit_nll, in_axes=(0, None, None), out_axes=1))
    over_mu = jax.vmap(covariance_nll, in_axes=(0, None, None, None))
    fit_fn = jax.jit(jax.vmap(over_mu, in_axes=(None, 0, None, None)), static_argnums=3)

    def profile(problems: Problems) -> dict[str, Any]:
        put = {name: jax.device_put(values, device) for name, values in {**problems.regions, **problems.limits}.items()}
        answers = {
            "regions": regions_fn(mu_grid, *(put[name] for name in REGION_FIELDS)),
            "limits": limits_fn(mu_grid, *(put[name] for name in LIMIT_FIELDS)),
        }
        for number, analysis in enumerate(problems.analyses):
            model = {name: jax.device_put(analysis[name], device) for name in ANALYSIS_FIELDS[:-2]}
            size = len(analysis["yields"])
            bucket = min(1 << max(0, (size - 1).bit_length()), chunk // MU_GRID.size)
            padded = np.zeros((-(-size // bucket) * bucket, analysis["yields"].shape[1]))
            padded[:size] = analysis["yields"]
            is_bent = bool(analysis["bend"].any())
            parts = [fit_fn(mu_grid, jax.device_put(padded[k : k + bucket], device), model, is_bent) for k in range(0, len(padded), bucket)]
            answers[f"analysis{number}"] = jnp.concatenate(parts)[:size]
        return {name: values.block_until_ready() for name, values in answers.items()}

    return profile


def largest_difference(found: Mapping[str, Array], expected: Mapping[str, Array], problems: Problems) -> dict[str, float]:
    """Largest |difference| / max(1, |-ln L|) per kind of likelihood, padding left out; inf where one side has no number."""
    worst = {"regions": 0.0, "limits": 0.0, "covariance": 0.0}
    masks = {"regions": problems.regions["signal"] > 0.0, "limits": expected["limits"][:, 0] != 0.0}
    for name, values in expected.items():
        difference = np.abs(np.asarray(found[name]) - values) / np.maximum(1.0, np.abs(values))
        if name in masks:
            difference = np.where(masks[name][:, None, :], difference, 0.0)
        kind = name if name in worst else "covariance"
        worst[kind] = max(worst[kind], float(np.where(np.isnan(difference), np.inf, difference).max(initial=0.0)))
    return worst


def save(path: Path, problems: Problems, answers: Mapping[str, Array], seconds_per_model: float) -> None:
    """Write problems and answers."""
    arrays = {f"regions.{name}": values for name, values in problems.regions.items()}
    arrays |= {f"limits.{name}": values for name, values in problems.limits.items()}
    arrays |= {f"{number}.{name}": values for number, analysis in enumerate(problems.analyses) for name, values in analysis.items()}
    arrays |= {f"answer.{name}": values for name, values in answers.items()}
    np.savez_compressed(path, seconds_per_model=seconds_per_model, num_analyses=len(problems.analyses), **arrays)


def load(path: Path) -> tuple[Problems, dict[str, Array], float]:
    """Read what `save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        regions = {name: file[f"regions.{name}"] for name in REGION_FIELDS}
        limits = {name: file[f"limits.{name}"] for name in LIMIT_FIELDS}
        analyses = [{name: file[f"{number}.{name}"] for name in ANALYSIS_FIELDS} for number in range(int(file["num_analyses"]))]
        answers = {name.removeprefix("answer."): file[name] for name in file.files if name.startswith("answer.")}
        return Problems(regions, limits, analyses), answers, float(file["seconds_per_model"])


def run(path: Path, sizes: Sequence[int], max_cpu: int, chunk: int, repeats: int = 3) -> None:
    """Print agreement and speed on every device."""
    os.environ.setdefault("NPROC", "8")  # with a pool of two threads JAX's loops over factorisations can wait for themselves
    import jax

    jax.config.update("jax_enable_x64", True)
    problems, answers, seconds_per_model = load(path)
    print(
        f"{problems.num_models} models, {MU_GRID.size} values of μ; per model up to {problems.regions['signal'].shape[1]} regions,", end=" "
    )
    num_fits = sum(len(analysis["owner"]) for analysis in problems.analyses)
    print(f"{problems.limits['centre'].shape[1]} pairs of limits, {num_fits / problems.num_models:.2f} covariance models on average")
    print(f"{'our kernels, one core':36}{1.0 / seconds_per_model:12.0f} models/s")
    devices = [jax.devices("cpu")[0]]
    if jax.default_backend() != "cpu":
        devices.append(jax.devices()[0])
    for device in devices:
        profile = build_profiles(device, chunk)
        worst = largest_difference(profile(problems), answers, problems)
        text = ", ".join(f"{kind} {value:.1e}" for kind, value in worst.items())
        verdict = "agrees" if max(worst.values()) <= TOLERANCE else "DISAGREES"
        print(f"{device.platform} ({device.device_kind}): {verdict} with our kernels, largest differences: {text}", flush=True)
        for size in sizes:
            if device.platform == "cpu" and size > max_cpu:
                continue
            batch = enlarge(problems, size)
            start = time.perf_counter()
            profile(batch)
            compiling = time.perf_counter() - start
            seconds = []
            for _ in range(repeats):
                start = time.perf_counter()
                profile(batch)
                seconds.append(time.perf_counter() - start)
            best = min(seconds)
            start = time.perf_counter()
            profile(batch._replace(analyses=()))
            simple = time.perf_counter() - start
            print(
                f"{f'{device.platform}, {size} models':36}{size / best:12.0f} models/s; {1e3 * best:.1f} ms,",
                f"covariance models {1.0 - simple / best:.0%} of it; first time {compiling:.1f} s",
                flush=True,
            )


def main() -> None:
    """Collect problems, or run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("collect")
    command.add_argument("models", type=Path)
    command.add_argument("problems", type=Path)
    command.add_argument("--results", default=None)
    command = commands.add_parser("run")
    command.add_argument("problems", type=Path)
    command.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024, 4096, 16384])
    command.add_argument("--max-cpu", type=int, default=1024, help="largest batch on the processor")
    command.add_argument("--chunk", type=int, default=16384, help="fits (models × μ) of one analysis in step")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.problems, arguments.sizes, arguments.max_cpu, arguments.chunk)
        return
    from builder.evaluate import EvaluationSettings, Evaluator
    from builder.model_io import read_models
    from services.stores import open_results

    evaluator = Evaluator(open_results(arguments.results), EvaluationSettings())
    models = read_models(arguments.models)
    collect(evaluator, models[:2])  # compile
    save(arguments.problems, *collect(evaluator, models))


if __name__ == "__main__":
    main()
