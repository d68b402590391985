# SPDX-License-Identifier: Apache-2.0
"""Alembic runs this for each upgrade; `sealroom_agents.store.schema` hands it the connection."""

from alembic import context

from sealroom_agents.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite changes a table by making it anew.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
