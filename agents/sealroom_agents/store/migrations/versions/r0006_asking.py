# SPDX-License-Identifier: Apache-2.0
"""Who asked for a run, tokens of researchers, and signatures of owners that wait."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """From the revision before."""
    op.add_column("runs", sa.Column("researcher", sa.String(42), nullable=True))
    op.create_index("runs_by_age", "runs", ["created", "id"])
    op.create_table(
        "tokens",
        sa.Column("digest", sa.String(66), nullable=False),
        sa.Column("account", sa.String(42), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("ended", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tokens")),
    )
    op.create_index(op.f("ix_tokens_account"), "tokens", ["account"])
    op.create_table(
        "gathered_signatures",
        sa.Column("consortium", sa.String(42), nullable=False),
        sa.Column("proposal", sa.String(66), nullable=False),
        sa.Column("owner", sa.String(42), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("consortium", "proposal", "owner", name=op.f("pk_gathered_signatures")),
    )
    op.create_index(op.f("ix_gathered_signatures_expires"), "gathered_signatures", ["expires"])
    op.create_index("gathered_by_proposal", "gathered_signatures", ["consortium", "proposal"])
