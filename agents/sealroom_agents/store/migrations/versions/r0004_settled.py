# SPDX-License-Identifier: Apache-2.0
"""Which published envelopes have their proofs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """From the revision before."""
    op.add_column("runs", sa.Column("settled", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("runs_to_settle", "runs", ["settled", "state", "id"])
