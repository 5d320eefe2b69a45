"""`protomodels hiscores list`, `show` and `export`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from database.errors import UserFacingError
from services.cli.options import DatabaseOption, JsonOption, echo_json, find_campaign, number

if TYPE_CHECKING:
    from rich.console import Console

    from database.campaigns.records import HiscoreRecord
    from database.campaigns.repository import CampaignRepository

CampaignOption = Annotated[str | None, typer.Option("--campaign", help="Number or name of a campaign; none: all of them.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Entries at most.")]

hiscores_app = typer.Typer(help="List, show and export the best protomodels found so far.", no_args_is_help=True)


class ExportFormat(StrEnum):
    """What a hiscore can be written as."""

    JSON = "json"
    SLHA = "slha"
    DICT = "dict"
    CSV = "csv"


class NoHiscoreError(UserFacingError):
    """There is nothing to export."""


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.add_typer(hiscores_app, name="hiscores")


@hiscores_app.command("list")
def list_hiscores(
    campaign: CampaignOption = None, limit: LimitOption = 10, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    """List the best protomodels by K."""
    from database.campaigns.sql import open_repository
    from services.cli.console import build_console

    repository = open_repository(database, is_read_only=True)
    try:
        entries = _select(repository, campaign, limit)
    finally:
        repository.close()
    if as_json:
        echo_json(hiscore_rows(entries))
    else:
        print_hiscores(build_console(), entries, "hiscores")


@hiscores_app.command("show")
def show(
    hiscore: Annotated[int, typer.Argument(help="Number of the hiscore.")], database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    """Show one protomodel: its particles, the best combination, the prior and the critics' verdict."""
    from database.campaigns.sql import open_repository

    repository = open_repository(database, is_read_only=True)
    try:
        entry = repository.get_hiscore(hiscore)
    finally:
        repository.close()
    if as_json:
        echo_json(hiscore_rows([entry])[0])
    else:
        _print_one(entry)


@hiscores_app.command("export")
def export(
    hiscores: Annotated[list[int] | None, typer.Argument(help="Numbers of hiscores; none: the best ones.")] = None,
    campaign: CampaignOption = None,
    limit: LimitOption = 10,
    format_: Annotated[
        ExportFormat,
        typer.Option(
            "--format", help="json: protomodels with their scores; slha: one model per file; dict: as the reference project; csv: a table."
        ),
    ] = (ExportFormat.JSON),
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; for several SLHA models a folder.")] = None,
    database: DatabaseOption = None,
) -> None:
    """Write hiscores for other programs."""
    from database.campaigns.sql import open_repository
    from services.export.hiscores import export_text, write_slha_files

    repository = open_repository(database, is_read_only=True)
    try:
        entries = tuple(repository.get_hiscore(one) for one in hiscores) if hiscores else _select(repository, campaign, limit)
    finally:
        repository.close()
    if not entries:
        typer.echo("protomodels: there are no hiscores yet", err=True)
        raise typer.Exit(3)
    if format_ is ExportFormat.SLHA and len(entries) > 1:
        if output is None:
            raise NoHiscoreError("an SLHA file holds one model: name one hiscore, or a folder with --output")
        for path in write_slha_files(entries, output):
            typer.echo(str(path))
        return
    text = export_text(entries, format_.value)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NoHiscoreError(f"{output} cannot be written: {error.strerror or error}") from None


def _select(repository: CampaignRepository, campaign: str | None, limit: int) -> tuple[HiscoreRecord, ...]:
    campaign_id = find_campaign(repository, campaign).campaign_id if campaign is not None else None
    return repository.list_hiscores(campaign_id, limit=limit)


def hiscore_rows(entries: Sequence[HiscoreRecord]) -> list[dict[str, Any]]:
    """Hiscores as plain values: the fields of `protomodels score`, the model, and where it was found."""
    from services.campaign.hiscores import restore_evaluation, restore_protomodel
    from services.cli.models import evaluation_row

    rows = []
    for entry in entries:
        protomodel = restore_protomodel(entry)
        rows.append(
            {
                "hiscore_id": entry.hiscore_id,
                "campaign_id": entry.campaign_id,
                "walker_number": entry.walker_number,
                "step": entry.step,
                **evaluation_row(restore_evaluation(entry)),
                "masses_gev": dict(protomodel.masses),
                "xsec_fb": {
                    str(sqrts_tev): {",".join(map(str, pair)): xsec for pair, xsec in xsecs.items()}
                    for sqrts_tev, xsecs in protomodel.spectrum().xsecs_fb.items()
                },
                "protomodel": entry.protomodel,
                "model_hash": entry.model_hash,
                "created_at": entry.created_at.isoformat(),
            }
        )
        rows[-1].pop("num_predictions", None)  # not stored with a hiscore
    return rows


def print_hiscores(console: Console, entries: Sequence[HiscoreRecord], title: str) -> None:
    """Prints the table of hiscores, or that there are none."""
    from rich.markup import escape
    from rich.table import Table

    from builder.particles import symbol
    from services.campaign.hiscores import restore_protomodel

    if not entries:
        console.print("no hiscores yet")
        return
    table = Table(title=escape(title))
    for name in ("number", "K", "T_L", "μ̂", "campaign", "walker", "step", "particles [GeV]", "best combination"):
        table.add_column(name, justify="left" if name in ("particles [GeV]", "best combination") else "right", overflow="fold")
    for entry in entries:
        masses = sorted(restore_protomodel(entry).masses.items(), key=lambda item: -item[1])
        particles = ", ".join(f"{symbol(pid)} {mass:.0f}" for pid, mass in masses)
        members = ", ".join(member["analysis_id"] for member in entry.combination)
        found = (str(entry.campaign_id), str(entry.walker_number), str(entry.step))
        table.add_row(str(entry.hiscore_id), number(entry.k), number(entry.tl), number(entry.mu_hat), *found, particles, members)
    console.print(table)


def _print_one(entry: HiscoreRecord) -> None:
    from rich.table import Table

    from builder.particles import symbol
    from services.campaign.hiscores import restore_evaluation, restore_protomodel
    from services.cli.console import build_console
    from services.cli.tables import combination_table, score_line, verdict_line

    console = build_console()
    protomodel, evaluation = restore_protomodel(entry), restore_evaluation(entry)
    console.print(
        f"[bold]hiscore {entry.hiscore_id}[/bold]: campaign {entry.campaign_id}, walker {entry.walker_number}, step {entry.step}, "
        f"model {entry.model_hash[:12]}"
    )
    console.print(score_line(evaluation), markup=False)
    console.print(verdict_line(evaluation), markup=False)
    spectrum = protomodel.spectrum()
    table = Table(title="particles")
    for name in ("particle", "mass [GeV]", "decays"):
        table.add_column(name, justify="right" if name == "mass [GeV]" else "left", overflow="fold")
    for pid, mass in sorted(protomodel.masses.items(), key=lambda item: -item[1]):
        decays = ", ".join(
            f"{' '.join(symbol(daughter) for daughter in daughters)} ({br:.0%})" for daughters, br in spectrum.decays.get(pid, ())
        )
        table.add_row(symbol(pid), f"{mass:.1f}", decays or "stable")
    console.print(table)
    production = Table(title="production")
    energies = sorted(spectrum.xsecs_fb)
    for name in ("pair", "κ", *(rf"σ at {sqrts_tev:g} TeV \[fb]" for sqrts_tev in energies)):
        production.add_column(name, justify="left" if name == "pair" else "right")
    pairs = sorted(
        {pair for xsecs in spectrum.xsecs_fb.values() for pair in xsecs}, key=lambda pair: -spectrum.xsecs_fb[energies[-1]].get(pair, 0.0)
    )
    for pair in pairs:
        values = (f"{spectrum.xsecs_fb[sqrts_tev].get(pair, 0.0):.3g}" for sqrts_tev in energies)
        production.add_row(" ".join(symbol(pid) for pid in pair), f"{protomodel.ssm(pair):.3g}", *values)
    console.print(production)
    console.print(combination_table(evaluation.combination))
    for analysis, count in sorted(evaluation.failures.items()):
        console.print(f"{analysis}: {count} numerical failure(s), left out of the combination", markup=False)
