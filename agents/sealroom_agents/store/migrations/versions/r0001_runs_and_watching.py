# SPDX-License-Identifier: Apache-2.0
"""Recipes, runs and their events; observations, watched consortia and notices.

Events are append-only: the database refuses to change or delete one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

HASH, ADDRESS = 66, 42


def upgrade() -> None:
    """From nothing."""
    op.create_table(
        "recipes",
        sa.Column("compose_hash", sa.String(HASH), primary_key=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False, index=True),
    )
    op.create_table(
        "observations",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("consortium", sa.String(ADDRESS), nullable=False, index=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("standing", sa.String(HASH), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("block_time", sa.Float(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=False),
        sa.Column("owner", sa.String(ADDRESS)),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(HASH), primary_key=True),
        sa.Column(
            "compose_hash", sa.String(HASH), sa.ForeignKey("recipes.compose_hash"), nullable=False, index=True
        ),
        sa.Column("consortium", sa.String(ADDRESS), nullable=False, index=True),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("code", sa.String(64)),
        sa.Column("message", sa.Text()),
        sa.Column("missing", sa.Text(), nullable=False),
        sa.Column("runner", sa.String(128)),
        sa.Column("holder", sa.String(64), index=True),
        sa.Column("place", sa.String(64)),
        sa.Column("fence", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("until", sa.Float()),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("updated", sa.Float(), nullable=False),
        sa.Column("draft", sa.String(HASH)),
        sa.Column("envelope", sa.String(HASH), index=True),
        sa.Column("envelope_before", sa.String(HASH), index=True),
        sa.Column("failure", sa.Text()),
        sa.Column("observation", sa.Integer(), sa.ForeignKey("observations.id")),
        sa.Column("killed", sa.Float()),
        sa.Column("idempotency_key", sa.String(128), unique=True),
        sa.Column("request_digest", sa.String(HASH)),
    )
    op.create_table(
        "run_events",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("run", sa.String(HASH), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("code", sa.String(64)),
        sa.Column("message", sa.Text(), nullable=False),
    )
    op.create_index("run_events_by_run", "run_events", ["run", "id"])
    _append_only()
    op.create_table(
        "watched",
        sa.Column("consortium", sa.String(ADDRESS), primary_key=True),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("standing", sa.String(HASH), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("revoked_by", sa.String(ADDRESS)),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("consortium", sa.String(ADDRESS), nullable=False, index=True),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("about", sa.String(HASH), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.UniqueConstraint("consortium", "kind", "about", "text"),
    )


def _append_only() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE OR REPLACE FUNCTION run_events_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'run events are append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER run_events_append_only BEFORE UPDATE OR DELETE ON run_events "
            "FOR EACH ROW EXECUTE FUNCTION run_events_append_only()"
        )
        return
    for action in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER run_events_no_{action.lower()} BEFORE {action} ON run_events "
            "BEGIN SELECT RAISE(ABORT, 'run events are append-only'); END"
        )
