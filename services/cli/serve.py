"""`protomodels serve`: the REST service and the dashboard."""

from __future__ import annotations

import errno
import socket
from typing import Annotated

import typer

from database.errors import UserFacingError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ServiceAddressError(UserFacingError):
    """The service cannot listen where it was told to."""


def bind_socket(host: str, port: int) -> socket.socket:
    """Returns a socket that listens on the address, so that a port in use is known before anything else happens.

    Args:
        host: name or address.
        port: TCP port, 0 for a free one.

    Raises:
        ServiceAddressError: the address is in use, not of this machine, or not permitted.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror:
        raise ServiceAddressError(f"'{host}' is not an address of this machine") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ServiceAddressError(f"port {port} on {host} is in use; choose another one with --port (0 takes a free one)") from None
        if error.errno == errno.EACCES:
            raise ServiceAddressError(f"port {port} may not be used by this user; choose one above 1023 with --port") from None
        raise ServiceAddressError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    return listener


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""

    @app.command()
    def serve(
        database: Annotated[
            str | None,
            typer.Option(
                help="SQLAlchemy URL or SQLite file of the campaigns, only read; none: $PROTOMODELS_DATABASE, else protomodels.db here."
            ),
        ] = None,
        host: Annotated[
            str, typer.Option(help="Address to listen on; 0.0.0.0 makes the service reachable from other machines.")
        ] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
        results: Annotated[
            str | None,
            typer.Option(help="Compiled store to tell about, or 'embedded'; none: the imported store, else embedded."),
        ] = None,
    ) -> None:
        """Serve the REST API (/api/v1) and the dashboard (/) of stored campaigns, live while one runs."""
        from database.campaigns.engine import describe_database, resolve_database_url
        from services.api.server import build_service
        from services.api.settings import ServiceSettings

        url = resolve_database_url(database)
        listener = bind_socket(host, port)
        taken_port = int(listener.getsockname()[1])
        settings = ServiceSettings(database_url=url, host=host, port=taken_port, results=results)
        shown_host = f"[{host}]" if ":" in host else host
        typer.echo(f"Campaigns of {describe_database(url)}: http://{shown_host}:{taken_port}/   (Ctrl-C ends)")
        if host not in LOOPBACK:
            typer.echo("Reachable from other machines; everything is read-only and open to whoever can connect.", err=True)
        build_service(settings).run(sockets=[listener])
