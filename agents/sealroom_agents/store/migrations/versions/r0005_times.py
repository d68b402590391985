# SPDX-License-Identifier: Apache-2.0
"""When the blocks were made in which something happened."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """From the revision before."""
    op.create_table(
        "index_times",
        sa.Column("cursor", sa.Integer(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["cursor"], ["index_cursors.id"]),
        sa.PrimaryKeyConstraint("cursor", "block"),
    )
