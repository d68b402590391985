# SPDX-License-Identifier: Apache-2.0
"""Options of the commands that work on what the processes share. Imports nothing of an extra: see `host`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sealroom_agents.config.model import Shared

KEEP_DAYS = 400
"""Days for which notices to owners are kept."""
DEFAULT_DATABASE = "sqlite:///sealroom.db"
CONFIG = Path("sealroom.toml")
ROOM = Path(".sealroom")
"""The folder of a local room, as `sealroom up --local` makes it in the folder in which it is called."""

config_option = click.option(
    "--config", "file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Take what no option says from this file, and from $SEALROOM_TABLE__FIELD.  "
    "[default: sealroom.toml, else .sealroom/sealroom.toml of a room, where it is there]",
)  # fmt: skip
database_option = click.option(
    "--database",
    metavar="URL",
    help=f"SQLite or PostgreSQL.  [default: that of --config, else {DEFAULT_DATABASE}]",
)
content_option = click.option(
    "--content",
    metavar="PLACE",
    help="Where envelopes and recipes are kept: a folder, or s3://BUCKET/PREFIX.  "
    "[default: beside a SQLite file; PostgreSQL needs one]",
)


def shared(
    file: Path | None,
    *,
    database: str | None,
    content: str | None = None,
    rpc: tuple[str, ...] = (),
    factory: str | None = None,
) -> Shared:
    """Chain and database as options, environment and file say, the first of them over the others.

    Raises `ConfigurationError`.
    """
    from sealroom_agents.config import load_shared

    asked: dict[str, dict[str, object]] = {
        "database": {"url": database, "content": content},
        "chain": {"rpc": rpc or None, "factory": factory},
    }
    given = {
        table: {name: value for name, value in fields.items() if value is not None}
        for table, fields in asked.items()
    }
    return load_shared(
        file or next((one for one in (CONFIG, ROOM / CONFIG) if one.exists()), None),
        {name: each for name, each in given.items() if each},
    )
