# SPDX-License-Identifier: Apache-2.0
"""What people see of a configuration: its values with secrets masked, and its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from sealroom_agents.config.model import SECTIONS, Config, Section

Values = dict[str, dict[str, Any]]


def values(config: Config) -> Values:
    """Each table that is there, with the values that hold; secrets are masked."""
    found: Values = {}
    for table in SECTIONS:
        section: Section | None = getattr(config, table)
        if section is not None:
            members = {name: _plain(getattr(section, name)) for name in type(section).model_fields}
            found[table] = {name: value for name, value in members.items() if value is not None}
    return found


def toml(found: Values) -> str:
    """The same as a file. A JSON string, number, boolean or list of them is TOML as well."""
    parts = []
    for table, fields in found.items():
        below = {f"{table}.{name}": value for name, value in fields.items() if isinstance(value, dict)}
        plain = {name: value for name, value in fields.items() if not isinstance(value, dict)}
        for title, members in {table: plain, **below}.items():
            lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in members.items()]
            parts.append("\n".join([f"[{title}]", *lines]))
    return "\n\n".join(parts) + "\n"


def schema() -> dict[str, Any]:
    """The JSON schema of the file; `option` is a field's name on the command line."""
    return Config.model_json_schema()


def masked(url: str) -> str:
    """A URL without what may be secret: user, password, path and query. A file of SQLite is none."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return url
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    rest = "/…" if parts.path.strip("/") or parts.query or parts.username else ""
    return f"{parts.scheme}://{shown}{port}{rest}" if parts.scheme and host else "…"


def _plain(value: Any) -> Any:
    match value:
        case SecretStr():
            return masked(value.get_secret_value())
        case Path():
            return str(value)
        case tuple():
            return [_plain(each) for each in value]
        case _:
            return value
