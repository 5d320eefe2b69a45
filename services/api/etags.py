"""JSON responses that a client need not fetch twice (RFC 9110 §8.8.3, §13.1.2)."""

from __future__ import annotations

import hashlib

from fastapi import Request, Response
from pydantic import BaseModel


def weak_etag(body: bytes) -> str:
    """Returns the entity tag of a body: weak, as compression may change the bytes on the way.

    Examples:
        >>> weak_etag(b"{}") == weak_etag(b"{}"), weak_etag(b"{}") == weak_etag(b"[]")
        (True, False)
    """
    return f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def is_match(if_none_match: str | None, etag: str) -> bool:
    """Says whether the client already has the entity (weak comparison; "*" matches anything).

    Examples:
        >>> is_match('"b", W/"a"', 'W/"a"'), is_match('"a"', 'W/"a"'), is_match("*", 'W/"a"'), is_match(None, 'W/"a"')
        (True, True, True, False)
    """
    if if_none_match is None:
        return False
    opaque = etag.removeprefix("W/")
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or opaque in tags


def json_response(request: Request, content: BaseModel) -> Response:
    """Returns the content as JSON with an entity tag, or 304 without a body if the client has it already."""
    body = content.model_dump_json().encode()
    etag = weak_etag(body)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}  # store it, but ask every time
    if is_match(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
