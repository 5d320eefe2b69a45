"""`protomodels results …`: bring the published LHC results in, look at them, make the embedded excerpt."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import JsonOption

if TYPE_CHECKING:
    from database.results.fetch import Progress as FetchProgress
    from database.results.importer import Progress as ImportProgress
    from database.results.store import ResultsStore
    from inference.analysis_models.canary import CanaryReport

OutputOption = Annotated[
    Path | None,
    typer.Option("--output", help="Directory of the compiled store; none: $PROTOMODELS_STORE, else the cache.", show_default=False),
]
WorkersOption = Annotated[int, typer.Option("--num-workers", min=1, help="Processes that parse and triangulate.")]
STAT_MODELS = {
    "none": "–",
    "sl_v1": "simplified (covariance)",
    "sl_v2": "simplified (covariance, skewed)",
    "pyhf": "full (HistFactory)",
    "region_sets": "region sets",
}
KINDS = {"upperLimit": "limits", "efficiencyMap": "efficiencies"}


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="Published LHC results: fetch, import, look at them.")
    group.command("import")(import_results)
    group.command("info")(info)
    group.command("fetch")(fetch)
    group.command("fit-excerpt")(fit_excerpt)
    app.add_typer(group, name="results")


def import_results(
    path: Annotated[Path, typer.Argument(help="SModelS text database: folder or archive.", show_default=False)],
    output: OutputOption = None,
    num_workers: WorkersOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Compile the text database at PATH into the store that all other commands use."""
    summary = _import(path, output, num_workers, is_quiet=as_json)
    _report_import(summary, as_json)


def _import(path: Path, output: Path | None, num_workers: int, is_quiet: bool) -> dict[str, Any]:
    from database.results.importer import import_text_database
    from database.results.store import default_store_path

    start = time.perf_counter()
    with _import_progress(is_quiet) as progress:
        store = import_text_database(path, output or default_store_path(), num_workers, progress)
    seconds = time.perf_counter() - start
    kinds = Counter(record.kind for record in store.results)
    return {
        "num_results": len(store.results),
        "num_limit_results": kinds["upperLimit"],
        "num_efficiency_results": kinds["efficiencyMap"],
        "num_datasets": len(store.dataset_ids),
        "num_maps": len(store.map_txnames),
        "num_grids": len(store.grid_dim),
        "text_version": store.text_version,
        "content_hash": store.content_hash,
        "store": str(store.path),
        "size_mb": round(sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file()) / 1e6, 1),
        "duration_s": round(seconds, 2),
    }


def _report_import(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(summary, indent=1))
        return
    typer.echo(
        f"Imported {summary['num_results']} results ({summary['num_limit_results']} of limits, {summary['num_efficiency_results']} of "
        f"efficiencies) with {summary['num_datasets']} data sets and {summary['num_maps']} maps on {summary['num_grids']} grids "
        f"in {summary['duration_s']:.1f} s: {summary['store']} ({summary['size_mb']:.0f} MB)"
    )


@contextmanager
def _import_progress(is_quiet: bool) -> Iterator[ImportProgress | None]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from services.cli.console import build_console

    if is_quiet:
        yield None
        return
    columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    console = build_console()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int, folder: str) -> None:
            bar.update(task, completed=done, total=total, description=folder)

        yield show


def fetch(
    version: Annotated[str, typer.Option(help="Release of the text database.")] = "3.0.0",
    url: Annotated[str | None, typer.Option(help="Archive to download; none: the public release.", show_default=False)] = None,
    sha256: Annotated[str | None, typer.Option(help="Checksum the archive must have.", show_default=False)] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for archives; none: the cache.", show_default=False)] = None,
    and_import: Annotated[bool, typer.Option("--import", help="Import it at once.")] = False,
    output: OutputOption = None,
    num_workers: WorkersOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Download a release of the text database, resuming where an earlier attempt stopped; verify it; keep it in the cache."""
    from database.results.fetch import fetch_release

    with _download_progress(as_json) as progress:
        archive = fetch_release(version, url, cache, sha256, progress)
    size_mb = archive.stat().st_size / 1e6
    summary: dict[str, Any] = {"version": version, "archive": str(archive), "size_mb": round(size_mb, 1)}
    if not as_json:
        typer.echo(f"Release {version} is at {archive} ({size_mb:.1f} MB)")
    if and_import:
        imported = _import(archive, output, num_workers, is_quiet=as_json)
        if not as_json:
            _report_import(imported, as_json=False)
        summary["import"] = imported
    elif not as_json:
        typer.echo(f"Import it with: protomodels results import {archive}")
    if as_json:
        typer.echo(json.dumps(summary, indent=1))


@contextmanager
def _download_progress(is_quiet: bool) -> Iterator[FetchProgress | None]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from services.cli.console import build_console

    if is_quiet:
        yield None
        return
    console = build_console()
    columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield show


# ---------------------------------------------------------------------------------------------------------------- info


def info(
    results: Annotated[
        str | None, typer.Option("--store", "--results", help="Compiled store, or 'embedded'; none: the imported store, else embedded.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List every result: what it holds, how its regions combine, and what of it is not usable yet and why."""
    from services.stores import open_results

    store = open_results(results)
    rows = result_rows(store)
    accounting = Counter(row["status"] for row in rows)
    if as_json:
        document = {
            "store": str(store.path),
            "source": store.source,
            "text_version": store.text_version,
            "content_hash": store.content_hash,
            "is_approximate": store.is_approximate,
            "num_results": len(store.results),
            "num_listed": len(rows),
            "accounting": dict(accounting),
            "results": rows,
        }
        typer.echo(json.dumps(document, allow_nan=False))
        return
    _print_rows(store, rows)
    parts = ", ".join(f"{accounting[status]} {text}" for status, text in STATUS_TEXTS.items() if accounting[status])
    num_superseded = sum(bool(row["superseded_by"]) for row in rows)
    superseded = f"; {num_superseded} superseded (results.exclude_superseded leaves them out)" if num_superseded else ""
    typer.echo(f"{len(rows)} of {len(store.results)} results accounted for: {parts}{superseded}")


STATUS_TEXTS = {"usable": "usable", "partly": "usable in part", "unusable": "out of reach"}


def result_rows(store: ResultsStore) -> list[dict[str, Any]]:
    """One plain row per result, in the order of the store; field names carry units.

    A result is `usable` if every map can be reached by pair-produced particles, prompt or long-lived, and its statistical model
    is evaluated, `unusable` if no map can be reached, else `partly`; `notes` say why.
    """
    from database.results.info import describe
    from inference.analysis_models.canary import CanaryStatus
    from inference.analysis_models.registry import find_analysis_model, find_canary
    from inference.analysis_models.set_report import report_region_sets
    from inference.settings import Conventions

    rows = []
    for record, described in zip(store.results, describe(store), strict=True):
        row: dict[str, Any] = asdict(described)
        notes = list(described.notes)
        model = find_analysis_model(store, record.index, Conventions.DEFAULT)
        report = report_region_sets(store, record.index)
        if report.rows:
            row["region_sets"] = report.rows
            notes.extend(report.notes)
        if described.stat_model != "none" and model is None:
            notes.append("no statistical model can be evaluated; the analysis enters through single signal regions")
        canary = find_canary(store, record.index)
        row["canary"] = None if canary is None else _canary_row(canary)
        if canary is not None and canary.status is CanaryStatus.FAILED:
            notes.append("the statistical model is switched off: its answer for a fixed signal is not the known one")
            model = None
        has_model = model is not None or (described.stat_model == "none" and not record.stat_payload.missing_files)
        is_complete = has_model and described.num_usable_maps == described.num_maps
        row["status"] = "unusable" if described.num_usable_maps == 0 else "usable" if is_complete else "partly"
        row |= {name: list(getattr(described, name)) for name in ("txnames", "superseded_by", "variants")}
        row["notes"] = notes
        row["fit_error"] = None if math.isnan(described.fit_error) else described.fit_error
        rows.append(row)
    return rows


def _canary_row(report: CanaryReport) -> dict[str, Any]:
    """Answers for a fixed signal per set of regions: Δ(-ln L) between μ = 1 and 0, limit on μ; null where a fit fails."""

    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None

    sets = [{"set": entry.name, "delta_nll": number(entry.delta_nll), "mu_ul": number(entry.mu_ul)} for entry in report.found]
    return {"status": report.status.value, "sets": sets}


def _describe_model(row: dict[str, Any]) -> str:
    """Kind of statistical model, and the limits of its canary."""
    canary = row["canary"]
    if canary is None:
        return STAT_MODELS[row["stat_model"]]
    limits = ", ".join("–" if entry["mu_ul"] is None else f"{entry['mu_ul']:.4g}" for entry in canary["sets"])
    return f"{STAT_MODELS[row['stat_model']]}; canary {canary['status']}: μ_UL {limits}"


def _print_rows(store: ResultsStore, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from services.cli.console import build_console

    console = build_console()
    label = " — approximate: for demonstration and tests" if store.is_approximate else ""
    table = Table(title=f"Published results {store.text_version}{label} ({store.path})", title_justify="left")
    for name in ("analysis", "√s [TeV]", "L [1/fb]", "kind", "regions", "topologies", "statistical model", "what to know of it"):
        table.add_column(name, justify="right" if name in ("√s [TeV]", "L [1/fb]", "regions", "topologies") else "left", overflow="fold")
    for row in rows:
        kind = KINDS[row["kind"]]
        if row["kind"] == "upperLimit" and row["num_expected_limit_maps"]:
            kind = "limits (obs, exp)" if row["num_expected_limit_maps"] == row["num_maps"] else "limits (some exp)"
        table.add_row(
            row["analysis_id"],
            f"{row['sqrts_tev']}",
            f"{row['lumi_ifb']:g}",
            kind,
            str(row["num_regions"]) if row["num_regions"] else "–",
            str(len(row["txnames"])),
            _describe_model(row),
            "; ".join(_remarks(row)) or "–",
        )
    console.print(table)


def _remarks(row: dict[str, Any]) -> list[str]:
    remarks = list(row["notes"])
    if row["variants"]:
        remarks.insert(0, f"also as {', '.join(row['variants'])}")
    if row["superseded_by"]:
        remarks.insert(0, f"superseded by {', '.join(row['superseded_by'])}")
    return remarks


# ------------------------------------------------------------------------------------------------------------- excerpt


def fit_excerpt(
    output: Annotated[Path, typer.Argument(help="Folder of the text files to write; replaced if it exists.", show_default=False)],
    results: Annotated[str | None, typer.Option("--store", help="Compiled full store; none: the imported one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the embedded excerpt to a full store and write it as text: published facts plus low-order fits of the maps."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the fits are small; threads would only wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from database.errors import StoreError
    from database.results.embedded.fit import write_excerpt
    from database.results.store import default_store_path, is_store, open_store

    if output.exists() and not (output.is_dir() and ((output / "version").is_file() or not any(output.iterdir()))):
        raise StoreError(f"{output} exists and is not an excerpt; choose another folder.")
    if results is None and not is_store(default_store_path()):
        raise StoreError("The excerpt is fitted to a full results store; import one with 'protomodels results import PATH'.")
    start = time.perf_counter()
    written = write_excerpt(open_store(results or default_store_path()), output)
    kept = [item for item in written if item.is_kept]
    summary = {
        "num_results": len({item.folder for item in kept}),
        "num_maps": len(kept),
        "num_left_out": len(written) - len(kept),
        "median_error": round(sorted(item.error.median for item in kept)[len(kept) // 2], 4),
        "output": str(output),
        "duration_s": round(time.perf_counter() - start, 2),
    }
    if as_json:
        rows = [
            {
                "folder": item.folder,
                "dataset": item.dataset,
                "txname": item.txname,
                "is_kept": item.is_kept,
                "error_median": item.error.median,
                "error_max": item.error.largest,
                "num_points": item.error.num_points,
            }
            for item in written
        ]
        typer.echo(json.dumps({**summary, "maps": rows}))
        return
    for item in written:
        if not item.is_kept:
            typer.echo(f"left out: {item.folder} {item.dataset} {item.txname}, the fit is off by {item.error.median:.0%} (median)")
    typer.echo(
        f"Fitted {summary['num_maps']} maps of {summary['num_results']} results in {summary['duration_s']:.1f} s; typical error "
        f"{summary['median_error']:.1%}; written to {output}"
    )
