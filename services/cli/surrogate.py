"""`protomodels surrogate …`: train a small network on a slow statistical model, and look at one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import JsonOption, ResultsOption, echo_json

if TYPE_CHECKING:
    from inference.surrogate.training import Progress, SurrogateSource


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="Learned likelihoods: train a network on a slow statistical model, look at one.")
    group.command("train")(train)
    group.command("info")(info)
    app.add_typer(group, name="surrogate")


def train(
    source: Annotated[
        str,
        typer.Argument(metavar="RESULT", help="Result (analysis id or folder) or HistFactory workspace (.json).", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", help="ONNX file to write.", show_default=False)],
    results: ResultsOption = None,
    set_name: Annotated[str | None, typer.Option("--set", help="Set of regions, or workspace, of a result with several.")] = None,
    channels: Annotated[str | None, typer.Option(help="Channels of a workspace with signal, separated by commas; none: by name.")] = None,
    radius: Annotated[float | None, typer.Option(min=0.1, help="Domain in standard deviations; none: 3 × expected limits.")] = None,
    num_signals: Annotated[int, typer.Option(min=20, help="Signals for which the statistical model is evaluated.")] = 6000,
    num_strengths: Annotated[int, typer.Option(min=1, max=20, help="Signal strengths per signal.")] = 2,
    hidden: Annotated[str, typer.Option(help="Neurons per hidden layer, separated by commas.")] = "64,64",
    num_steps: Annotated[int, typer.Option(min=1, help="Steps of the training.")] = 25_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of signals and training.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Train a network on the statistical model of RESULT and write it with its domain and its measured error."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # small matrices; and the same sums in the same order in every run
    from inference.networks.onnx_file import write_onnx
    from inference.surrogate.settings import SurrogateSettings
    from inference.surrogate.training import SurrogateError, train_surrogate

    layers = [int(part) if part.strip().isdigit() else 0 for part in hidden.split(",")]
    if min(layers) < 1:
        raise SurrogateError(f"--hidden must be numbers of neurons like 64,64, not {hidden}.")
    settings = SurrogateSettings(
        radius=radius, num_signals=num_signals, num_strengths=num_strengths, hidden=tuple(layers), num_steps=num_steps, seed=seed
    )
    if not output.parent.is_dir():
        raise SurrogateError(f"There is no folder {output.parent} to write {output.name} to.")
    learned = _find_source(source, results, set_name, channels)
    start = time.perf_counter()
    with _progress(as_json) as progress:
        surrogate = train_surrogate(learned, settings, progress)
    try:
        write_onnx(output, surrogate.file)
    except OSError as error:
        raise SurrogateError(f"{output} cannot be written: {error.strerror}.") from None
    document: dict[str, Any] = {
        "output": str(output),
        "source": dict(learned.identity),
        "regions": list(learned.names),
        "radius": surrogate.radius,
        "num_training": surrogate.num_samples,
        "num_failed": surrogate.num_failed,
        "error": surrogate.error._asdict(),
        "duration_s": round(time.perf_counter() - start, 1),
    }
    if as_json:
        echo_json(document)
        return
    typer.echo(f"Learned {len(learned.names)} regions of {_name_of(document['source'])} from {surrogate.num_samples} signals: {output}")
    _print_domain_and_error(surrogate.radius, document["error"])


def _find_source(source: str, results: str | None, set_name: str | None, channels: str | None) -> SurrogateSource:
    from inference.surrogate.source import find_record, source_of_result, source_of_workspace
    from inference.surrogate.training import SurrogateError
    from services.stores import open_results

    if source.endswith(".json"):
        if set_name is not None:
            raise SurrogateError("--set names sets of a result; a workspace in a file has none.")
        return source_of_workspace(Path(source), channels.split(",") if channels else None)
    if channels is not None:
        raise SurrogateError("--channels is for workspaces in files; a result says itself which regions see a signal.")
    store = open_results(results)
    return source_of_result(store, find_record(store, source), set_name)


@contextmanager
def _progress(is_quiet: bool) -> Iterator[Progress | None]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    from services.cli.console import build_console

    if is_quiet:
        yield None
        return
    console = build_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield show


def info(
    file: Annotated[Path, typer.Argument(help="ONNX file.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Show what a learned likelihood was made from, where it may be used, and how far off it is."""
    from inference.analysis_models.surrogates import load_surrogate

    layout = load_surrogate(file).layout
    origin = layout.origin
    ball, box = layout.ball, layout.upper
    document: dict[str, Any] = {
        "file": str(file),
        "regions": list(layout.names),
        "background": layout.background.tolist(),
        "radius": ball.radius if ball is not None else None,
        "upper_limits": box.tolist() if box is not None else None,
        "source": origin.get("source"),
        "error": origin.get("error"),
        "settings": origin.get("settings"),
        "versions": origin.get("versions"),
    }
    if as_json:
        echo_json(document)
        return
    typer.echo(f"{file.name}: {len(layout.names)} regions of {_name_of(document['source'] or {})}")
    if ball is not None and isinstance(document["error"], dict):
        _print_domain_and_error(ball.radius, document["error"])
    elif box is None:
        typer.echo("It does not say for which yields it was trained: it is used for all.")
    else:
        typer.echo("It is used for total yields within the box of its training; its error is not stated.")


def _name_of(source: dict[str, Any]) -> str:
    name = source.get("analysis_id") or source.get("workspace") or "a source that is not stated"
    return f"{name}, {source['set']}" if source.get("set") else str(name)


def _print_domain_and_error(radius: float, error: dict[str, Any]) -> None:
    typer.echo(f"Domain: signals of up to {radius:.2f} standard deviations; refused outside.")
    typer.echo(
        f"Error of -ln L on {error['num_signals']} signals that were not trained with: median {error['median']:.4f}, "
        f"95 % below {error['percentile_95']:.4f}, largest {error['largest']:.3f}; "
        f"for |Δ(-ln L)| < 5: 95 % below {error['small_percentile_95']:.4f}, largest {error['small_largest']:.3f}."
    )
