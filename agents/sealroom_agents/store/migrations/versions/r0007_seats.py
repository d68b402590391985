# SPDX-License-Identifier: Apache-2.0
"""Which consortia name an account. They are looked at again, which fills it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """From the revision before."""
    op.create_table(
        "index_seats",
        sa.Column("cursor", sa.Integer(), nullable=False),
        sa.Column("consortium", sa.String(42), nullable=False),
        sa.Column("account", sa.String(42), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("acted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["cursor"], ["index_cursors.id"]),
        sa.PrimaryKeyConstraint("cursor", "consortium", "account"),
    )
    op.create_index("index_seats_by_account", "index_seats", ["cursor", "account", "acted", "number"])
    consortia = sa.table("index_consortia", sa.column("dirty", sa.Boolean()))
    op.execute(sa.update(consortia).values(dirty=True))
