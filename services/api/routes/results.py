"""The published LHC results in use."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Request, Response

from services.api import schemas
from services.api.deps import Results
from services.api.etags import json_response

router = APIRouter(prefix="/results", tags=["results"])


@router.get("", response_model=schemas.ResultsOut, summary="All analyses of the results database")
def list_results(request: Request, results: Results) -> Response:
    """Every analysis with √s, luminosity, kinds of result, regions, topologies, and what is not usable and why."""
    return json_response(request, results.listing())


@router.get("/{analysis_id}", response_model=schemas.ResultDetailOut, summary="One analysis with its references")
def get_result(request: Request, results: Results, analysis_id: Annotated[str, Path(description="e.g. CMS-SUS-19-006")]) -> Response:
    """An analysis with its publication and each of its kinds of result."""
    found = results.detail(analysis_id)
    if found is None:
        raise HTTPException(404, f"the results database has no analysis '{analysis_id}'")
    return json_response(request, found)
