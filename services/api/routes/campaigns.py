"""Campaigns: what was run and how far it is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from services.api import schemas
from services.api.convert import campaign_detail, campaign_out
from services.api.deps import MAX_NUMBER, AfterParam, LimitParam, Rates, Repository
from services.api.etags import json_response

router = APIRouter(prefix="/campaigns", tags=["campaigns"])
CampaignId = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="number of the campaign")]


@router.get("", response_model=schemas.Page[schemas.CampaignOut], summary="All campaigns, by number")
def list_campaigns(request: Request, repository: Repository, rates: Rates, after: AfterParam = 0, limit: LimitParam = 100) -> Response:
    """Every campaign that is stored, with its progress; `after` is the number of the last campaign already seen."""
    found = [record for record in repository.list_campaigns() if record.campaign_id > after]
    items = [campaign_out(repository, record, rates) for record in found[:limit]]
    next_after = items[-1].campaign_id if len(found) > limit else None
    return json_response(request, schemas.Page[schemas.CampaignOut](items=items, next_after=next_after))


@router.get("/{campaign_id}", response_model=schemas.CampaignDetailOut, summary="One campaign with its configuration and counts")
def get_campaign(request: Request, repository: Repository, rates: Rates, campaign_id: CampaignId) -> Response:
    """A campaign with its resolved configuration, the versions that computed it, and what became of its proposals."""
    return json_response(request, campaign_detail(repository, repository.get_campaign(campaign_id), rates))
