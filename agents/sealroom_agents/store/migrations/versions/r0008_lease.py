# SPDX-License-Identifier: Apache-2.0
"""Until when the lease of a run lasts."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """From the revision before."""
    op.add_column("runs", sa.Column("lease_until", sa.Float(), nullable=True))
    op.add_column("runs", sa.Column("lease_seconds", sa.Integer(), nullable=True))
