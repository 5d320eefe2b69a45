"""The `protomodels` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from database.campaigns.repository import CampaignNotFoundError, DatabaseNotFoundError, HiscoreNotFoundError
from database.errors import UserFacingError
from services.cli import campaigns, combinability, explain, hiscores, limits, models, results, sample, serve, surrogate, workspaces
from services.log_setup import set_up_logging

EXIT_BAD_INPUT = 2
EXIT_NOTHING_FOUND = 3

EPILOG = (
    "Exit codes: 0 done; 1 unexpected error, or the campaign failed; 2 bad input (one sentence on stderr says what); "
    "3 nothing found under that name or number; 130 interrupted, everything stored."
)

app = typer.Typer(
    name="protomodels",
    help="Builds the simplest particle spectra that explain small excesses of published LHC results without contradicting any null result.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from services.campaign.plan import project_version

        typer.echo(f"protomodels {project_version()}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Log what happens; twice: every step.")] = 0,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    set_up_logging(verbose)


for module in (campaigns, hiscores, results, models, combinability, explain, limits, sample, serve, surrogate, workspaces):
    module.register(app)


def main() -> None:
    """Runs the command line; errors that users can act on become one sentence on stderr."""
    try:
        app(prog_name="protomodels")
    except UserFacingError as error:
        print(f"protomodels: {error}", file=sys.stderr)
        is_missing = isinstance(error, (CampaignNotFoundError, HiscoreNotFoundError, DatabaseNotFoundError))
        sys.exit(EXIT_NOTHING_FOUND if is_missing else EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
