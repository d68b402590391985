# SPDX-License-Identifier: Apache-2.0
"""Options that say where the processes keep what they share. Imports nothing of an extra: see `host`."""

from __future__ import annotations

import click

DEFAULT_DATABASE = "sqlite:///sealroom.db"

database_option = click.option(
    "--database", default=DEFAULT_DATABASE, show_default=True, metavar="URL", help="SQLite or PostgreSQL."
)
content_option = click.option(
    "--content",
    metavar="PLACE",
    help="Where envelopes and recipes are kept: a folder, or s3://BUCKET/PREFIX.  "
    "[default: beside a SQLite file; PostgreSQL needs one]",
)
