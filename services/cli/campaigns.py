"""`protomodels run`, `resume` and `status`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import CampaignArgument, DatabaseOption, JsonOption, echo_json, find_campaign, number

if TYPE_CHECKING:
    from database.campaigns.records import CampaignRecord
    from database.campaigns.repository import CampaignRepository
    from services.campaign.driver import Snapshot

ConfigArgument = Annotated[
    str, typer.Argument(help="A YAML file, or the name of a packaged configuration: demo, quickstart, toy, production.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--num-workers", min=0, help="Worker processes; none: one per core; 0: all in this process, without Ray.")
]

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.command("run")(run)
    app.command("resume")(resume)
    app.command("status")(status)


def run(
    config: ConfigArgument,
    database: DatabaseOption = None,
    num_workers: WorkersOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the campaign, in place of the configuration's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the campaign that CONFIG describes; it ends with the table of its hiscores.

    Ctrl-C ends it after the steps under way, with everything stored; `resume` continues it.
    """
    from configs.schema import load_config
    from services.campaign.sessions import run_campaign

    overrides = {"campaign.database": database, "campaign.num_workers": num_workers, "campaign.seed": seed}
    settings = load_config(config, overrides)

    def work(repository: CampaignRepository, observer: Callable[[Snapshot], None]) -> CampaignRecord:
        return run_campaign(settings, repository, observer)

    _run(settings.campaign.database, work, as_json=as_json)


def resume(
    campaign: CampaignArgument,
    database: DatabaseOption = None,
    num_workers: WorkersOption = None,
    num_steps: Annotated[int | None, typer.Option(min=1, help="More steps for every walker than planned so far.")] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", help="Continue with this configuration; keys that matter must not differ from the stored ones."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Continue CAMPAIGN from its checkpoints: the same chains as without the interruption."""
    from configs.schema import dump_config, load_config
    from services.campaign.plan import flatten
    from services.campaign.sessions import resume_campaign

    given: dict[str, Any] = flatten(dump_config(load_config(config))) if config else {}
    given |= {key: value for key, value in (("campaign.num_workers", num_workers), ("campaign.num_steps", num_steps)) if value is not None}

    def work(repository: CampaignRepository, observer: Callable[[Snapshot], None]) -> CampaignRecord:
        return resume_campaign(find_campaign(repository, campaign).campaign_id, repository, given, observer)

    _run(database, work, as_json=as_json)


def _run(database: str | None, work: Callable[[CampaignRepository, Callable[[Snapshot], None]], CampaignRecord], *, as_json: bool) -> None:
    """Runs or resumes, shows it, and ends the command with the exit code that says how it went."""
    from database.campaigns.sql import open_repository
    from database.campaigns.status import CampaignStatus
    from services.cli.hiscores import hiscore_rows, print_hiscores
    from services.cli.live import build_display_console, duration, watch

    last: list[Snapshot] = []
    console = build_display_console()
    repository = open_repository(database)
    try:
        try:
            with watch(console, is_quiet=as_json) as show:

                def observe(snapshot: Snapshot) -> None:
                    last[:] = [snapshot]
                    show(snapshot)

                record = work(repository, observe)
        except KeyboardInterrupt:
            typer.echo("stopped at once; what the workers had not handed in yet is walked again by `protomodels resume`", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        entries = repository.list_hiscores(record.campaign_id, limit=record.keep_hiscores)
        if as_json:
            echo_json(campaign_row(repository, record) | _session_row(last) | {"hiscores": hiscore_rows(entries)})
        else:
            print_hiscores(console, entries, f"hiscores of campaign {record.campaign_id} {record.name}, {record.results_label}")
            if last:
                speed = f"{last[0].session_steps} steps in {duration(last[0].elapsed_s)}, {number(last[0].steps_per_s, 1)} steps/s"
                console.print(f"{record.status}: {speed}, workers' memory up to {last[0].rss_mb:.0f} MB")
    finally:
        repository.close()
    if record.status is CampaignStatus.INTERRUPTED:
        typer.echo(f"interrupted; `protomodels resume {record.campaign_id}` continues it", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    if record.status is CampaignStatus.FAILED:
        typer.echo(f"campaign {record.campaign_id} failed: {record.error}", err=True)
        raise typer.Exit(EXIT_FAILED)


def _session_row(last: list[Snapshot]) -> dict[str, Any]:
    if not last:
        return {}
    snapshot = last[0]
    return {
        "session_steps": snapshot.session_steps,
        "session_duration_s": snapshot.elapsed_s,
        "session_steps_per_s": snapshot.steps_per_s,
        "session_worker_deaths": snapshot.num_deaths,
        "max_worker_rss_mb": snapshot.rss_mb,
    }


def status(
    campaign: Annotated[str | None, typer.Argument(help="Number or name of a campaign; none: all of them.")] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far campaigns are; with CAMPAIGN, each of its walkers and what became of the proposals."""
    from database.campaigns.sql import open_repository

    repository = open_repository(database, is_read_only=True)
    try:
        if campaign is None:
            _show_all(repository, as_json=as_json)
        else:
            _show_one(repository, find_campaign(repository, campaign), as_json=as_json)
    finally:
        repository.close()


def campaign_row(repository: CampaignRepository, record: CampaignRecord) -> dict[str, Any]:
    """A campaign as plain values."""
    walkers = repository.list_walkers(record.campaign_id)
    best = repository.list_hiscores(record.campaign_id, limit=1)
    return {
        "campaign_id": record.campaign_id,
        "name": record.name,
        "status": record.status.value,
        "seed": record.seed,
        "num_walkers": record.num_walkers,
        "num_steps": record.num_steps,
        "steps_done": sum(walker.step for walker in walkers),
        "steps_total": record.num_walkers * record.num_steps,
        "best_k": best[0].k if best else None,
        "results_label": record.results_label,
        "is_approximate": record.is_approximate,
        "driver": record.driver,
        "silence_s": _silence_s(record),
        "error": record.error,
        "created_at": record.created_at.isoformat(),
        "updated_at": record.updated_at.isoformat(),
    }


def _silence_s(record: CampaignRecord) -> float | None:
    """Time since the last sign of life of a running campaign [s], None for others."""
    from database.campaigns.status import CampaignStatus

    return (datetime.now(UTC) - record.updated_at).total_seconds() if record.status is CampaignStatus.RUNNING else None


def _status_text(status: str, silence_s: float | None) -> str:
    """The state for people: a running campaign whose driver is silent has most likely lost it."""
    from services.campaign.driver import STALE_AFTER_S
    from services.cli.live import duration

    is_silent = silence_s is not None and silence_s > STALE_AFTER_S
    return f"{status}, silent for {duration(silence_s)}" if is_silent and silence_s is not None else status


def _show_all(repository: CampaignRepository, *, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from services.cli.console import build_console

    rows = [campaign_row(repository, record) for record in repository.list_campaigns()]
    if as_json:
        echo_json(rows)
        return
    table = Table(title="campaigns")
    for name in ("number", "name", "status", "seed", "walkers", "steps", "best K", "results", "last sign of life (UTC)"):
        table.add_column(name, justify="right" if name in ("number", "seed", "walkers", "steps", "best K") else "left")
    for row in rows:
        best_k = number(row["best_k"]) if row["best_k"] is not None else "–"
        steps = f"{row['steps_done']}/{row['steps_total']}"
        numbers = (str(row["seed"]), str(row["num_walkers"]), steps, best_k)
        table.add_row(
            str(row["campaign_id"]),
            escape(row["name"]),
            _status_text(row["status"], row["silence_s"]),
            *numbers,
            row["results_label"],
            row["updated_at"][:19],
        )
    build_console().print(table)


def _show_one(repository: CampaignRepository, record: CampaignRecord, *, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from services.cli.console import build_console

    row = campaign_row(repository, record)
    walkers = repository.list_walkers(record.campaign_id)
    verdicts, failures = repository.count_verdicts(record.campaign_id), repository.count_failures(record.campaign_id)
    incidents = repository.list_incidents(record.campaign_id)
    if as_json:
        echo_json(
            row
            | {
                "walkers": [
                    {
                        "walker_number": walker.walker_number,
                        "status": walker.status.value,
                        "step": walker.step,
                        "k": walker.k,
                        "t_l": walker.tl,
                        "best_k": walker.best_k,
                        "steps_per_s": walker.steps_per_s,
                        "heartbeat_at": walker.heartbeat_at.isoformat() if walker.heartbeat_at else None,
                    }
                    for walker in walkers
                ],
                "verdict_counts": verdicts,
                "failure_counts": failures,
                "incidents": [
                    {"kind": i.kind, "detail": i.detail, "walker_numbers": i.walker_numbers, "created_at": i.created_at.isoformat()}
                    for i in incidents
                ],
                "versions": record.versions,
                "results_hash": record.results_hash,
                "combinability_hash": record.combinability_hash,
                "config": record.config,
            }
        )
        return
    console = build_console()
    state = _status_text(record.status.value, row["silence_s"])
    title = f"[bold]campaign {record.campaign_id} {escape(record.name)}[/bold]"
    console.print(f"{title}: {state}, seed {record.seed}, {escape(record.results_label)}")
    if record.error:
        console.print(record.error, style="red", markup=False)
    table = Table()
    for name in ("walker", "status", "step", "K", "T_L", "best K", "steps/s"):
        table.add_column(name, justify="left" if name == "status" else "right")
    for walker in walkers:
        values = (number(walker.k), number(walker.tl), number(walker.best_k), number(walker.steps_per_s, 1))
        table.add_row(str(walker.walker_number), walker.status.value, f"{walker.step}/{record.num_steps}", *values)
    console.print(table)
    for title, counts in (("proposals", verdicts), ("failed numerical evaluations", failures)):
        if counts:
            console.print(f"{title}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    for incident in incidents:
        console.print(f"{incident.created_at:%Y-%m-%d %H:%M:%S} {incident.kind}: {incident.detail}", markup=False)
