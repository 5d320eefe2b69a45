"""Alembic revisions of the campaign storage; `engine.upgrade_schema` applies them."""
