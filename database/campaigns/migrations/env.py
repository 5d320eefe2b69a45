"""Alembic's entry: runs the revisions on the connection that `engine.upgrade_schema` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from database.campaigns.engine import build_engine, resolve_database_url
from database.campaigns.orm import Base


def run_on(connection: Connection) -> None:
    """Applies the requested revisions."""
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    context.run_migrations()


def run() -> None:
    """Runs on the connection handed over, or for the alembic command of a developer on $PROTOMODELS_DATABASE."""
    given = context.config.attributes.get("connection")
    if given is not None:
        run_on(given)
        return
    url = resolve_database_url(context.config.get_main_option("sqlalchemy.url"))
    with build_engine(url, is_read_only=False).begin() as own:
        run_on(own)


if hasattr(context, "config"):  # absent where the file is merely imported, as by doctest collection
    run()
