"""`protomodels limits`: limits, CLs and verdicts of searches with several signal regions, from yields or models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from inference.limits import AsimovConvention, TestStatistic
from inference.multibin.settings import Backend, ExpectedData, LimitsError, ModelChoice, MultibinSettings, Quantity
from services.cli.limits_inputs import open_book, read_json, read_signals, read_stored
from services.cli.options import JsonOption, ResultsOption

if TYPE_CHECKING:
    from database.results.store import ResultsStore
    from inference.multibin.book import AnalysisBook
    from inference.multibin.results import ResultsFile, SourcesRecord
    from inference.multibin.run import SignalInput, SignalResult

PICTURES = (".png", ".pdf", ".svg")


class BackendOption(StrEnum):
    """What evaluates workspaces, as users name it."""

    NUMBA = "numba"
    NUMPY = "numpy"
    JAX = "jax"
    PYHF = "pyhf"


InputArgument = Annotated[
    Path | None,
    typer.Argument(metavar="SOURCE", help="Yields, one or several models, or with --stat-only a results file.", show_default=False),
]
AnalysisOption = Annotated[list[str] | None, typer.Option("--analysis", "-a", help="Only this analysis; repeat for more.")]
ModelOption = Annotated[
    ModelChoice | None,
    typer.Option("--model", help="Statistical model of regions; fullpyhf: full ones, evaluated by pyhf; none: full."),
]
BackendArgument = Annotated[BackendOption | None, typer.Option(help="numba is built in; numpy (or pyhf) and jax go through pyhf.")]
ScanOption = Annotated[bool, typer.Option("--scan", help="Only observed CLs: the quickest verdict.")]
SelectOption = Annotated[str | None, typer.Option("--select", help="uplim, cls, expected, separated by commas.")]
DetailedOption = Annotated[bool, typer.Option("--detailed", help="All quantities; the table has all sets of regions, and ±2σ bands.")]
StatisticOption = Annotated[TestStatistic | None, typer.Option(help="Test statistic; none: q_tilde.")]
AsimovOption = Annotated[AsimovConvention | None, typer.Option(help="Auxiliary data of Asimov data; none: published.")]
ExpectedOption = Annotated[ExpectedData | None, typer.Option(help="Expected after or before a look at the data; none: aposteriori.")]
TimeoutOption = Annotated[float | None, typer.Option("--timeout", help="Wall-clock limit of one fit, in seconds.")]
WorkspaceOption = Annotated[
    list[str] | None, typer.Option("--workspace", help="HistFactory workspace: FILE, ARCHIVE#MEMBER or DOI#MEMBER; repeat for more.")
]
RegionsOption = Annotated[list[Path] | None, typer.Option("--regions", help="Region map of each --workspace; none: that of the catalogue.")]
TableOption = Annotated[list[Path] | None, typer.Option("--table", help="Counts (and covariance) of an analysis that the results lack.")]
SurrogateOption = Annotated[list[str] | None, typer.Option("--surrogate", help="Learned model: FILE, or ANALYSIS=FILE.")]
StatOnlyOption = Annotated[bool, typer.Option("--stat-only", help="Evaluate the yields of a results file again, with its settings.")]
ListOption = Annotated[bool, typer.Option("--list", help="List the searches of the catalogue, and what is available here.")]
CurvesOption = Annotated[
    Path | None,
    typer.Option("--curves", help="Draw ln L(μ)/L(0) of each analysis and of the combination: .png, .pdf, .svg, or .json for the numbers."),
]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Results file to write (JSON).")]


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("limits")(limits)


def limits(
    source: InputArgument = None,
    analysis: AnalysisOption = None,
    model: ModelOption = None,
    backend: BackendArgument = None,
    scan: ScanOption = False,
    select: SelectOption = None,
    detailed: DetailedOption = False,
    statistic: StatisticOption = None,
    asimov: AsimovOption = None,
    expected: ExpectedOption = None,
    timeout: TimeoutOption = None,
    workspace: WorkspaceOption = None,
    regions: RegionsOption = None,
    table: TableOption = None,
    surrogate: SurrogateOption = None,
    stat_only: StatOnlyOption = False,
    list_searches: ListOption = False,
    curves: CurvesOption = None,
    results: ResultsOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Limits on the signal strength from searches with several signal regions, one by one and combined.

    SOURCE holds expected signal events per region, or models whose predictions give them. A signal is excluded where its upper limit on the
    strength μ is below 1; the verdict is that of the combination that is expected to be most sensitive.
    """
    from services.stores import open_results

    store = open_results(results)
    if list_searches:
        _list(store, as_json)
        return
    if source is None:
        raise LimitsError("SOURCE: name a file of yields or models, or ask for --list")
    _check_curves(curves)
    stored = read_stored(source, stat_only)
    given = {
        "model": model,
        "backend": backend,
        "statistic": statistic,
        "asimov": asimov,
        "expected_data": expected,
        "timeout_s": timeout,
    }
    settings = build_settings(stored, given, _quantities(scan, select, detailed))
    book, sources = open_book(store, stored, workspace or [], regions or [], table or [], surrogate or [], analysis or [])
    signals = read_signals(source, store, stored, book, analysis)
    found = _run(signals, book, settings, is_quiet=as_json)
    document = _collect(found, settings, sources)
    if curves is not None:
        _write_curves(curves, source, store, found, stored is None)
    if output is not None:
        from inference.multibin.results import write_results

        write_results(document, output)
    if as_json:
        typer.echo(json.dumps(document.model_dump(mode="json", by_alias=True), ensure_ascii=False, allow_nan=False))
        return
    from services.cli.limits_tables import print_results

    print_results(document, is_detailed=detailed)
    for path in filter(None, (output, curves)):
        typer.echo(f"written: {path}")


# -------------------------------------------------------------------------------------------------------------- options


def _quantities(scan: bool, select: str | None, detailed: bool) -> tuple[Quantity, ...] | None:
    """What to compute; None if no option says."""
    if sum((scan, select is not None, detailed)) > 1:
        raise LimitsError("--scan, --select and --detailed exclude each other")
    if scan:
        return (Quantity.CLS,)
    if select is None:
        return tuple(Quantity) if detailed else None
    names = [name.strip() for name in select.split(",") if name.strip()]
    for name in names:
        if name not in tuple(Quantity):
            raise LimitsError(f"--select: {name} is none of {', '.join(Quantity)}")
    chosen = tuple(quantity for quantity in Quantity if quantity in names)
    return (Quantity.UPLIM, *chosen) if chosen == (Quantity.EXPECTED,) else chosen


def build_settings(stored: ResultsFile | None, changes: Mapping[str, Any], quantities: tuple[Quantity, ...] | None) -> MultibinSettings:
    """The settings: those of a results file or the defaults, with what the options say.

    Raises:
        LimitsError: options do not fit each other; names the option.
    """
    values = {} if stored is None else stored.settings.model_dump()
    given = {name: value for name, value in changes.items() if value is not None}
    if given.get("backend") == BackendOption.PYHF:
        given["backend"] = Backend.NUMPY
    if given.get("model") is ModelChoice.FULLPYHF and "backend" not in given:
        given["backend"] = Backend.NUMPY
    if "model" in given and given["model"] is not ModelChoice.FULLPYHF and "backend" not in given:
        given["backend"] = Backend.NUMBA
    values |= given
    if quantities is not None:
        values["quantities"] = quantities
    try:
        return MultibinSettings.model_validate(values)
    except ValidationError as error:
        from database.searches.records import describe_defect

        names = {"timeout_s": "--timeout", "backend": "--backend", "quantities": "--select", "model": "--model"}
        text = describe_defect(error)
        field, _, rest = text.partition(": ")
        raise LimitsError(f"{names.get(field, field)}: {rest or text}") from None


def _check_curves(curves: Path | None) -> None:
    if curves is not None and curves.suffix not in (*PICTURES, ".json"):
        raise LimitsError(f"--curves: {curves.name} must end with {', '.join(PICTURES)} or .json")


# ------------------------------------------------------------------------------------------------------------------ run


def _run(signals: Sequence[SignalInput], book: AnalysisBook, settings: MultibinSettings, is_quiet: bool) -> list[SignalResult]:
    from rich.console import Console

    from inference.multibin.run import run_signal

    console = Console(stderr=True)
    if is_quiet or not console.is_terminal:
        return [run_signal(signal, book, settings) for signal in signals]
    with console.status("") as status:
        return [run_signal(signal, book, settings, progress=lambda name: status.update(f"limits of {name}")) for signal in signals]


def _collect(found: Sequence[SignalResult], settings: MultibinSettings, sources: SourcesRecord) -> ResultsFile:
    from inference.multibin.run import collect_results

    return collect_results(found, settings, sources)


def _list(store: ResultsStore, as_json: bool) -> None:
    from database.searches.catalogue import catalogue_rows
    from inference.multibin.book import efficiency_results

    rows = catalogue_rows(efficiency_results(store))
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, allow_nan=False))
        return
    from services.cli.limits_tables import print_catalogue

    print_catalogue(rows)


def _write_curves(path: Path, source: Path, store: ResultsStore, found: Sequence[SignalResult], is_fresh: bool) -> None:
    """Curves of the first signal: of a model its best combination, of yields the most sensitive one."""
    from inference.multibin.curves import NamedLikelihood, tabulate_curves
    from inference.multibin.results import write_text

    document = read_json(source)
    is_model = is_fresh and not (isinstance(document, Mapping) and "analyses" in document)
    if is_model:
        from services.plots.score_curves import score_curves

        curves = score_curves(source, store)
    else:
        best = found[0].combination
        if best is None:
            raise LimitsError("--curves: no analysis has a likelihood")
        entries = [found[0].evaluated[k] for k in best.members]
        factors = zip(entries, best.observed.members, strict=True)
        members = [NamedLikelihood(entry.analysis.name, entry.set_name, factor) for entry, factor in factors]
        curves = tabulate_curves(members, f"{found[0].record.name}: most sensitive combination")
    if path.suffix == ".json":
        write_text(json.dumps(curves.model_dump(mode="json"), ensure_ascii=False, allow_nan=False, indent=1) + "\n", path)
        return
    from services.plots.likelihood_curves import draw_curves

    draw_curves(curves, path)
