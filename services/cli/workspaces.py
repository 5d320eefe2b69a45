"""`protomodels workspaces …`: HistFactory workspaces made smaller, and translated to HS3 and back."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from database.errors import ConfigError
from services.cli.options import JsonOption, echo_json

if TYPE_CHECKING:
    from inference.likelihoods.simplified import SimplificationErrors


class Form(StrEnum):
    """What a workspace is simplified to; the names of `inference.likelihoods.simplified.SimplifiedForm`."""

    PUB_NOTE = "pub-note"
    COVARIANCE = "covariance"
    LOGNORMAL = "lognormal"


class Target(StrEnum):
    """Format to convert to."""

    HS3 = "hs3"
    PYHF = "pyhf"


WorkspaceArgument = Annotated[Path, typer.Argument(help="A pyhf workspace, background only.", show_default=False)]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; none: standard output.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="Full likelihoods (HistFactory workspaces) as files.")
    group.command("simplify")(simplify)
    group.command("convert")(convert)
    app.add_typer(group, name="workspaces")


def simplify(
    workspace: WorkspaceArgument,
    form: Annotated[Form, typer.Option(help="pub-note, covariance (signal regions given the controls), or lognormal.")] = Form.PUB_NOTE,
    output: OutputOption = None,
    compare: Annotated[bool, typer.Option("--compare", help="Measure the errors against the full workspace.")] = False,
    num_signals: Annotated[int, typer.Option("--signals", min=1, help="Signals to compare with.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the signals.")] = 1,
    signal_regions: Annotated[
        list[str] | None, typer.Option("--signal-region", help="Channel that signals fill, repeatable; none: all but CR… and VR….")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Derive a smaller likelihood from WORKSPACE and, with --compare, print how wrong it is."""
    import numpy as np

    from inference.analysis_models.histfactory import WorkspaceModel
    from inference.analysis_models.workspace_regions import select_channels
    from inference.likelihoods.histfactory import compile_workspace
    from inference.likelihoods.simplified import SimplifiedForm, draw_shapes, measure_errors
    from inference.likelihoods.simplified import simplify as derive

    spec = read_json(workspace)
    compile_workspace(spec)  # says what is wrong with it before channels are chosen
    kept, signal = _choose_channels(spec, signal_regions)
    spec = select_channels(spec, kept)
    model = compile_workspace(spec)
    is_signal = np.array([channel in signal for channel, _ in model.bins], dtype=np.bool_)
    simplified = derive(spec, model, is_signal, SimplifiedForm(form))
    if output is not None or not compare:
        write_json(simplified.document, output)
    if compare:
        shapes = draw_shapes(model.nominal_background[is_signal], num_signals, seed)
        places = np.flatnonzero(is_signal)
        errors = measure_errors(WorkspaceModel(model), simplified.model, shapes, places, simplified.places)
        if as_json:
            echo_json({"form": form.value, **errors._asdict()})
        else:
            _print_errors(form, errors)


def _choose_channels(spec: dict[str, Any], signal_regions: list[str] | None) -> tuple[list[str], list[str]]:
    """Channels that stay (no validation regions) and those that signals fill."""
    from inference.analysis_models.workspace_regions import guess_type

    names = [str(entry["name"]) for entry in spec["channels"]]
    if signal_regions:
        for name in signal_regions:
            if name not in names:
                raise ConfigError(f"the workspace has no channel {name!r}; it has {', '.join(names)}")
        signal = list(signal_regions)
    else:
        signal = [name for name in names if guess_type(name) == "SR"]
    kept = [name for name in names if name in signal or guess_type(name) != "VR"]
    return kept, signal


def _print_errors(form: Form, errors: SimplificationErrors) -> None:
    from rich.table import Table

    from services.cli.console import build_console

    table = Table(title=f"{form.value} against the full workspace, {errors.num_signals} signals up to 2 × their limit")
    for name in (
        "error of Δ(-ln L): median",
        "95 %",
        "largest",
        "largest where Δ < 3",
        "limit ratio: lowest",
        "median",
        "highest",
        "failed",
    ):
        table.add_column(name, justify="right")
    values = (errors.median, errors.quantile_95, errors.largest, errors.largest_small)
    limits = (errors.limit_low, errors.limit_median, errors.limit_high)
    shown = [f"{value:.3g}" if math.isfinite(value) else "–" for value in (*values, *limits)]
    table.add_row(*shown, str(errors.num_failed))
    build_console().print(table)


def convert(
    source: Annotated[Path, typer.Argument(help="A pyhf workspace or an HS3 document.", show_default=False)],
    to: Annotated[Target, typer.Option("--to", help="Format to write.")],
    output: OutputOption = None,
    analysis: Annotated[
        str | None, typer.Option("--analysis", help="Analysis of an HS3 document; none: all those that use the same data.")
    ] = None,
) -> None:
    """Translate a pyhf workspace to HS3 (HEP Statistics Serialization Standard), or back; one sentence says what cannot be expressed."""
    from inference.hs3 import read_hs3, write_hs3

    document = read_json(source)
    if to is Target.HS3:
        if analysis is not None:
            raise ConfigError("--analysis chooses from an HS3 document; it does not apply to a pyhf workspace")
        write_json(write_hs3(document), output)
    else:
        write_json(read_hs3(document, analysis).pyhf_workspace(), output)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must hold one JSON object")
    return document


def write_json(document: dict[str, Any], output: Path | None) -> None:
    """Writes a document to a file, or prints it.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = json.dumps(document, indent=1, allow_nan=False)
    if output is None:
        typer.echo(text)
        return
    try:
        output.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror or error}") from None
    typer.echo(f"wrote {output}")
