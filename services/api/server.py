"""Runs the service on a socket, and ends it without waiting for open event streams."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from services.api.app import create_app
from services.api.settings import ServiceSettings

GRACE_S = 5
"""Time that answers under way get when the service ends [s]."""


class Service(uvicorn.Server):
    """A server that tells its event streams to end before it waits for them."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        """Serves `app` as `config` says."""
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends event streams, then everything else."""
        self._app.state.closing.set()
        await super().shutdown(sockets)


def build_service(settings: ServiceSettings) -> Service:
    """Builds a service; `run(sockets=[...])` starts it.

    Args:
        settings: where the campaigns and results are, and how the service behaves.
    """
    app = create_app(settings)
    return Service(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=GRACE_S), app)
