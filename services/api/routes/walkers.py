"""Walkers: where each chain of a campaign stands."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from services.api import schemas
from services.api.convert import walker_out
from services.api.deps import CampaignParam, Repository
from services.api.etags import json_response

router = APIRouter(prefix="/walkers", tags=["walkers"])


@router.get("", response_model=schemas.Page[schemas.WalkerOut], summary="Walkers of a campaign")
def list_walkers(request: Request, repository: Repository, campaign: CampaignParam) -> Response:
    """All walkers of a campaign by number: how far each is, and the K of its present and its best model."""
    items = [walker_out(record) for record in repository.list_walkers(campaign)]
    return json_response(request, schemas.Page[schemas.WalkerOut](items=items))
