"""First release: campaigns, walkers, progress, hiscores, counts, incidents.

Column types are spelled out here rather than taken from orm.py, so that this revision stays what it was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
NOW = sa.func.current_timestamp()


def campaign_column(*, primary_key: bool = False) -> sa.Column[int]:
    """The reference to the campaign that every other table carries."""
    return sa.Column("campaign_id", ID, sa.ForeignKey("campaigns.campaign_id", ondelete="CASCADE"), nullable=False, primary_key=primary_key)


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "campaigns",
        sa.Column("campaign_id", ID, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("num_walkers", sa.Integer(), nullable=False),
        sa.Column("num_steps", sa.Integer(), nullable=False),
        sa.Column("keep_hiscores", sa.Integer(), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("results_hash", sa.String(64), nullable=False),
        sa.Column("combinability_hash", sa.String(64), nullable=False),
        sa.Column("results_label", sa.String(200), nullable=False),
        sa.Column("is_approximate", sa.Boolean(), nullable=False),
        sa.Column("driver", sa.String(200)),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
    )
    op.create_table(
        "walkers",
        campaign_column(primary_key=True),
        sa.Column("walker_number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("k", sa.Double()),
        sa.Column("tl", sa.Double()),
        sa.Column("best_k", sa.Double()),
        sa.Column("steps_per_s", sa.Double()),
        sa.Column("checkpoint", sa.Text()),
        sa.Column("heartbeat_at", TIME),
    )
    op.create_table(
        "progress",
        sa.Column("progress_id", ID, primary_key=True, autoincrement=True),
        campaign_column(),
        sa.Column("walker_number", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("k", sa.Double()),
        sa.Column("tl", sa.Double()),
        sa.Column("best_k", sa.Double()),
        sa.Column("num_particles", sa.Integer(), nullable=False),
        sa.Column("is_accepted", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(40), nullable=False),
        sa.Column("moves", sa.Text(), nullable=False),
        sa.UniqueConstraint("campaign_id", "walker_number", "step", name="uq_progress_step"),
    )
    op.create_index("ix_progress_campaign", "progress", ["campaign_id", "progress_id"])
    op.create_table(
        "hiscores",
        sa.Column("hiscore_id", ID, primary_key=True, autoincrement=True),
        campaign_column(),
        sa.Column("walker_number", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("k", sa.Double()),
        sa.Column("tl", sa.Double()),
        sa.Column("mu_hat", sa.Double()),
        sa.Column("mu_max", sa.Double()),
        sa.Column("log_prior", sa.Double()),
        sa.Column("prior_terms", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("combination", sa.Text(), nullable=False),
        sa.Column("protomodel", sa.Text(), nullable=False),
        sa.Column("model_hash", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(40), nullable=False),
        sa.Column("failures", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.UniqueConstraint("campaign_id", "model_hash", name="uq_hiscores_model"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_hiscores_k", "hiscores", ["k"])
    op.create_table(
        "counts",
        campaign_column(primary_key=True),
        sa.Column("kind", sa.String(20), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "incidents",
        sa.Column("incident_id", ID, primary_key=True, autoincrement=True),
        campaign_column(),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("walker_numbers", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
    )
    op.create_index("ix_incidents_campaign_id", "incidents", ["campaign_id"])


def downgrade() -> None:
    """Drops the tables, and all campaigns with them."""
    for table in ("incidents", "counts", "hiscores", "progress", "walkers", "campaigns"):
        op.drop_table(table)
