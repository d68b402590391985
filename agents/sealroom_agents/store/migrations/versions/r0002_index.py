# SPDX-License-Identifier: Apache-2.0
"""The index of what the chain says: cursors, blocks, events, consortia, and which datasets they show."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

HASH, ADDRESS = 66, 42


def upgrade() -> None:
    """From the revision before."""
    op.create_table(
        "index_cursors",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("factory", sa.String(ADDRESS), nullable=False, unique=True),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(HASH), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("final", sa.BigInteger(), nullable=False),
        sa.Column("looked", sa.Float(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("holder", sa.String(64)),
        sa.Column("until", sa.Float(), nullable=False),
    )
    op.create_table(
        "index_blocks",
        sa.Column("cursor", sa.Integer(), sa.ForeignKey("index_cursors.id"), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True),
        sa.Column("hash", sa.String(HASH), nullable=False),
    )
    op.create_table(
        "index_events",
        sa.Column("cursor", sa.Integer(), sa.ForeignKey("index_cursors.id"), primary_key=True),
        sa.Column("block", sa.BigInteger(), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("block_hash", sa.LargeBinary(), nullable=False),
        sa.Column("tx", sa.String(HASH), nullable=False),
        sa.Column("contract", sa.String(16), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("consortium", sa.String(ADDRESS)),
        sa.Column("subject", sa.String(HASH)),
        sa.Column("topics", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    place = ["block", "position"]
    op.create_index("index_events_by_consortium", "index_events", ["cursor", "consortium", *place])
    op.create_index("index_events_by_name", "index_events", ["cursor", "consortium", "name", *place])
    op.create_index("index_events_by_subject", "index_events", ["cursor", "subject", *place])
    op.create_table(
        "index_consortia",
        sa.Column("cursor", sa.Integer(), sa.ForeignKey("index_cursors.id"), primary_key=True),
        sa.Column("address", sa.String(ADDRESS), primary_key=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("owners", sa.Integer(), nullable=False),
        sa.Column("confirmed", sa.Integer(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("criteria", sa.String(3), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.Column("expiry", sa.BigInteger(), nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("facts_block", sa.BigInteger(), nullable=False),
        sa.Column("facts_since", sa.BigInteger(), nullable=False),
        sa.Column("settled_block", sa.BigInteger(), nullable=False),
        sa.Column("moved", sa.BigInteger(), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("read", sa.Float(), nullable=False),
        sa.Column("checked", sa.Float(), nullable=False),
        sa.Column("fault", sa.Text()),
        sa.Column("version", sa.Integer(), nullable=False),
        # Long values stand last: a database reads what stands behind them slowly.
        sa.Column("facts", sa.Text()),
        sa.Column("settled", sa.Text()),
    )
    op.create_index("index_consortia_by_number", "index_consortia", ["cursor", "declared", "number"])
    op.create_index("index_consortia_by_records", "index_consortia", ["cursor", "declared", "records"])
    op.create_index("index_consortia_by_status", "index_consortia", ["cursor", "status"])
    op.create_index("index_consortia_to_read", "index_consortia", ["cursor", "dirty", "declared", "read"])
    op.create_index("index_consortia_to_check", "index_consortia", ["cursor", "declared", "checked"])
    op.create_table(
        "index_uses",
        sa.Column("cursor", sa.Integer(), sa.ForeignKey("index_cursors.id"), primary_key=True),
        sa.Column("dataset", sa.String(HASH), primary_key=True),
        sa.Column("consortium", sa.String(ADDRESS), primary_key=True, index=True),
    )
