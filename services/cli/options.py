"""Options and small helpers that several commands share."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inference.settings import Conventions

if TYPE_CHECKING:
    from database.campaigns.records import CampaignRecord
    from database.campaigns.repository import CampaignRepository

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database", help="SQLAlchemy URL or SQLite file of the campaigns; none: $PROTOMODELS_DATABASE, else protomodels.db here."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON; units are in the field names.")]
ModelArgument = Annotated[
    Path, typer.Argument(help="One model or a list: protomodel JSON, plain JSON, SLHA, or a .dict file.", show_default=False)
]
ResultsOption = Annotated[
    str | None, typer.Option("--results", help="Compiled store, or 'embedded'; none: the imported store, else embedded.")
]
ConventionsOption = Annotated[Conventions, typer.Option(help="default, or smodels (or one of its quirks) to reproduce SModelS 3.0.3.")]
CampaignArgument = Annotated[str, typer.Argument(help="Number or name of a campaign; of several with one name, the latest.")]


def echo_json(value: Any) -> None:
    """Prints a value as JSON; numbers that are not finite become null."""
    typer.echo(json.dumps(plain(value), indent=1, allow_nan=False, default=str))


def plain(value: Any) -> Any:
    """The value with inf and nan replaced by None, for JSON.

    Examples:
        >>> plain({"mu_max": float("inf"), "k": [1.5]})
        {'mu_max': None, 'k': [1.5]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def number(value: float, digits: int = 2) -> str:
    """A number for a table; "–" where there is none.

    Examples:
        >>> number(1.234), number(float("nan")), number(float("inf")), number(float("-inf"))
        ('1.23', '–', '∞', '–')
    """
    if math.isinf(value) and value > 0:
        return "∞"
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def find_campaign(repository: CampaignRepository, name_or_number: str) -> CampaignRecord:
    """The campaign of that number, else the latest of that name.

    Raises:
        CampaignNotFoundError: there is none.
    """
    from database.campaigns.repository import CampaignNotFoundError

    if name_or_number.isdecimal():
        return repository.get_campaign(int(name_or_number))
    named = [campaign for campaign in repository.list_campaigns() if campaign.name == name_or_number]
    if not named:
        raise CampaignNotFoundError(f"there is no campaign '{name_or_number}'")
    return named[-1]
