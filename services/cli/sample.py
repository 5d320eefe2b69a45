"""`protomodels sample`: model-content probabilities and posteriors by reversible jump."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.campaigns import ConfigArgument
from services.cli.options import JsonOption, echo_json, number

if TYPE_CHECKING:
    from builder.sampling.posterior import ContentSummary, PosteriorSummary
    from builder.sampling.tempering import Ladder, Walker
    from configs.schema import RunConfig
    from services.campaign.plan import ResultsInUse

MAX_ROWS = 15
"""Contents that are listed."""

FREE_KEYS = ("sampling.num_steps", "sampling.num_walkers")
"""Keys that may change when a run goes on: chains get longer, walkers join."""


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("sample")(sample)


def sample(
    config: ConfigArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="NetCDF file for the posterior (ArviZ InferenceData).")],
    walkers: Annotated[int | None, typer.Option("--walkers", min=1, help="Independent ensembles of tempered chains.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of each chain, burn-in included.")] = None,
    burn_in: Annotated[int | None, typer.Option("--burn-in", min=0, help="First steps of each chain, not recorded.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed, in place of the configuration's.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=0, help="Processes; none: one per core; 0: all in this one.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="File to go on from; none: OUTPUT with .checkpoint appended.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint: the same chains as without the break.")] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Steps between two writes of the checkpoint.")] = 250,
    as_json: JsonOption = False,
) -> None:
    """Sample models from prior times likelihood, as the section `sampling` of CONFIG says; ends with the contents' probabilities."""
    from builder.sampling.checkpoint import Checkpoint
    from builder.sampling.netcdf import build_inference_data, import_arviz, write_netcdf
    from builder.sampling.posterior import summarise
    from builder.sampling.run import Executor, InProcess, Workers, run_walkers
    from configs.schema import load_config
    from services.campaign.plan import inspect_results

    overrides = {
        "sampling.num_walkers": walkers,
        "sampling.num_steps": steps,
        "sampling.burn_in_steps": burn_in,
        "campaign.seed": seed,
    }
    settings = load_config(config, overrides)
    import_arviz()
    results = inspect_results(settings.results)
    file = checkpoint if checkpoint is not None else output.with_name(output.name + ".checkpoint")
    identity = describe_run(settings, results)
    store = Checkpoint.open(file, identity) if resume else Checkpoint.create(file, identity)
    build = partial(build_ladder, settings.model_dump_json(), str(results.store_path))
    num_workers = min(settings.sampling.num_walkers, (os.cpu_count() or 1) if workers is None else workers)
    ladder = build()
    with ExitStack() as stack:
        executor: Executor = InProcess(ladder) if num_workers == 0 else stack.enter_context(Workers(build, num_workers))
        run_walkers(executor, store, settings.sampling.num_walkers, settings.sampling.num_steps, batch, partial(_report, as_json, settings))
    draws = store.load_draws()
    score = settings.evaluation.score
    summary = summarise(draws, ladder.prior, score)
    attributes: dict[str, str | int | float] = {
        "seed": settings.campaign.seed,
        "results": results.label,
        "likelihood": settings.sampling.likelihood.value,
    }
    write_netcdf(build_inference_data(draws, summary, ladder.prior.space, score, attributes | _versions()), output)
    if as_json:
        echo_json(summary_row(summary) | {"walkers": walker_rows(store.load_walkers(), settings), "output": str(output)})
    else:
        print_summary(summary, results.label)
        print_walkers(store.load_walkers(), settings)
        typer.echo(f"posterior: {output}; to go on: --resume with more --steps ({file})")


def build_ladder(config: str, store_path: str) -> Ladder:
    """What advances walkers, built anew in every worker process.

    Args:
        config: the resolved configuration as JSON.
        store_path: the compiled results.

    Raises:
        StoreError: the store cannot be opened on this machine.
        ConfigError: the settings do not fit the results.
    """
    from builder.evaluate import Evaluator
    from builder.sampling.likelihood import StoreLikelihood
    from builder.sampling.prior import Prior
    from builder.sampling.space import Space
    from builder.sampling.tempering import Ladder
    from configs.schema import RunConfig
    from database.results.store import open_store
    from services.campaign.selection import combine_as_configured, select_results

    settings = RunConfig.model_validate_json(config)
    selected = select_results(open_store(Path(store_path)), settings.results)
    evaluator = Evaluator(selected, settings.evaluation, combine_as_configured(selected, settings.results))
    walk = settings.walk
    space = Space(settings.sampling, walk.rules, walk.particle_pool, walk.pool.caps, walk.pool.susy_like)
    likelihood = StoreLikelihood(evaluator, settings.sampling)
    return Ladder(Prior(space, settings.evaluation.score), likelihood, settings.campaign.seed)


def describe_run(settings: RunConfig, results: ResultsInUse) -> dict[str, Any]:
    """Everything that decides what the chains are, by dotted key."""
    from configs.schema import dump_config
    from services.campaign.plan import flatten

    resolved = dump_config(settings)
    sections: dict[str, Any] = {name: resolved[name] for name in ("sampling", "evaluation", "results")}
    sections["walk"] = {name: resolved["walk"][name] for name in ("rules", "forbidden_particles", "pool")}
    identity = {key: value for key, value in flatten(sections).items() if key not in (*FREE_KEYS, "results.store")}
    return identity | {
        "campaign.seed": settings.campaign.seed,
        "results_hash": results.results_hash,
        "combinability_hash": results.combinability_hash,
    }


def _versions() -> dict[str, str]:
    from services.campaign.plan import collect_versions

    return {f"version_{name}": text for name, text in collect_versions().items()}


def _report(is_quiet: bool, settings: RunConfig, step: int) -> None:
    if not is_quiet:
        typer.echo(f"step {step} of {settings.sampling.num_steps} in each of {settings.sampling.num_walkers} walkers", err=True)


def summary_row(summary: PosteriorSummary) -> dict[str, Any]:
    """A summary as plain JSON values."""
    return {
        "num_draws_per_walker": summary.num_draws,
        "num_switches": summary.num_switches,
        "switch_ess": summary.switch_ess,
        "r_hat": summary.r_hat,
        "contents": [entry._asdict() for entry in summary.contents],
    }


def walker_rows(walkers: dict[int, Walker], settings: RunConfig) -> list[dict[str, Any]]:
    """Acceptance, exchanges and outcomes per walker as plain JSON values."""
    return [
        {
            "walker": index,
            "acceptance": {name: accepted / tried for name, (tried, accepted) in walker.chains[0].tallies.items()},
            "decisions": {decision.value: count for decision, count in walker.chains[0].decisions.items()},
            "failures": _sum([chain.failures for chain in walker.chains]),
            "exchanges": [
                {"betas": list(settings.sampling.betas[pair : pair + 2]), "tried": tried, "taken": taken}
                for pair, (tried, taken) in enumerate(walker.exchanges)
            ],
        }
        for index, walker in walkers.items()
    ]


def _sum(counts: list[Any]) -> dict[str, int]:
    total: dict[str, int] = {}
    for some in counts:
        for name, count in some.items():
            total[name] = total.get(name, 0) + count
    return total


def print_summary(summary: PosteriorSummary, label: str) -> None:
    """Prints the contents and their probabilities."""
    from rich.markup import escape
    from rich.table import Table

    from services.cli.console import build_console

    console = build_console()
    table = Table(title=escape(f"contents, {label}"))
    for name in ("particles", "probability", "±", "prior", "Bayes factor", "ESS", "walkers agree", "R-hat", "draws", "best K"):
        table.add_column(name, justify="left" if name == "particles" else "right")
    for entry in summary.contents[:MAX_ROWS]:
        table.add_row(*_cells(entry))
    console.print(table)
    rest = summary.contents[MAX_ROWS:]
    if rest:
        console.print(f"and {len(rest)} more with {math.fsum(entry.probability for entry in rest):.3f} together")
    console.print(
        f"{len(summary.contents)} contents, {summary.num_switches} switches, effective sample size of the number of particles "
        f"{number(summary.switch_ess, 0)}, R-hat {number(summary.r_hat, 3)}; {summary.num_draws} draws per walker"
    )


def _cells(entry: ContentSummary) -> tuple[str, ...]:
    return (
        entry.label,
        number(entry.probability, 4),
        number(entry.error, 4),
        f"{entry.prior_probability:.2g}",
        f"{entry.bayes_factor:.3g} ± {entry.bayes_factor_error:.2g}" if math.isfinite(entry.bayes_factor) else "–",
        number(entry.ess, 0),
        number(entry.agreement, 2),
        number(entry.r_hat, 3),
        str(entry.num_draws),
        number(entry.best_k),
    )


def print_walkers(walkers: dict[int, Walker], settings: RunConfig) -> None:
    """Prints how often moves and exchanges were taken, and what failed."""
    from services.cli.console import build_console

    console = build_console()
    rows = walker_rows(walkers, settings)
    names = sorted({name for row in rows for name in row["acceptance"]})
    rates = {name: [row["acceptance"][name] for row in rows if name in row["acceptance"]] for name in names}
    console.print("accepted: " + ", ".join(f"{name} {math.fsum(some) / len(some):.2f}" for name, some in rates.items()))
    pairs = [
        (settings.sampling.betas[pair : pair + 2], [row["exchanges"][pair] for row in rows])
        for pair in range(len(settings.sampling.betas) - 1)
    ]
    if pairs:
        taken = [(betas, sum(some["taken"] for some in each), sum(some["tried"] for some in each)) for betas, each in pairs]
        console.print("exchanged: " + ", ".join(f"β {b[0]:g}↔{b[1]:g} {t / n:.2f}" for b, t, n in taken if n))
    console.print("proposals: " + ", ".join(f"{n} {name}" for name, n in sorted(_sum([row["decisions"] for row in rows]).items())))
    failures = _sum([row["failures"] for row in rows])
    if failures:
        console.print("failed numerical evaluations: " + ", ".join(f"{n} {name}" for name, n in sorted(failures.items())))
