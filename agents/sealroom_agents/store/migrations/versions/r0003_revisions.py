# SPDX-License-Identifier: Apache-2.0
"""The revision of what pages show, and the orders of the board as indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """From the revision before."""
    op.add_column("index_cursors", sa.Column("revision", sa.BigInteger(), nullable=False, server_default="0"))
    op.drop_index("index_consortia_by_records", "index_consortia")
    board = ["cursor", "declared"]
    op.create_index("index_consortia_by_newest", "index_consortia", [*board, sa.text("number DESC")])
    op.create_index(
        "index_consortia_by_records", "index_consortia", [*board, sa.text("records DESC"), "number"]
    )
