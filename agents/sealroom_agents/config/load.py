# SPDX-License-Identifier: Apache-2.0
"""One configuration from command line, environment and file, in this order, parsed once and strictly."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from sealroom.codes import Code
from sealroom_agents.config import backends
from sealroom_agents.config.model import SECTIONS, Config, Runner, Section, Shared
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.storage_options import DEFAULT_DATABASE

FILE = Path("sealroom.toml")
"""Where a configuration lies unless another place is named."""
MAX_BYTES = 256 * 1024
"""Largest file."""
PREFIX, DELIMITER = "SEALROOM_", "__"
"""`SEALROOM_CHAIN__ID` is `id` in the table `[chain]`."""
SHOWN_ERRORS = 8
"""So many faults are told at once."""

Values = dict[str, Any]
M = TypeVar("M", bound=Section)
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^/:][^:]*)")
"""A database in a file whose path is relative: not `:memory:`, and no `file:` URI."""


def load(file: Path | None, given: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """The configuration. `given` are values of the command line, by table and field.

    A path in the file counts from the file's folder, those of a SQLite database and of a content store too.
    Raises `ConfigurationError`, which names every field that does not fit, where it was set, and what to do.
    """
    return _load(Config, "forbid", file, given)


def load_shared(file: Path | None, given: Mapping[str, Mapping[str, Any]] | None = None) -> Shared:
    """The same for the tables that processes share; what other tables say is not looked at."""
    return _load(Shared, "ignore", file, given)


def _load(
    model: type[M],
    extra: Literal["forbid", "ignore"],
    file: Path | None,
    given: Mapping[str, Mapping[str, Any]] | None,
) -> M:
    written = {} if file is None else _read(file)
    asked: Values = {table: dict(fields) for table, fields in (given or {}).items()}
    _require_known_variables()

    class Settings(BaseSettings, model):  # type: ignore[valid-type, misc]
        model_config = SettingsConfigDict(
            env_prefix=PREFIX, env_nested_delimiter=DELIMITER, extra=extra, frozen=True,
            hide_input_in_errors=True,
        )  # fmt: skip

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            # No .env: a file that happens to lie in the working folder must not configure a gate.
            return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=written)

    try:
        found: M = Settings(**asked)
        return found
    except ValidationError as error:
        raise _refused(error, file, asked) from None
    except SettingsError as error:
        raise ConfigurationError(
            Code.CONFIGURATION, f"the environment: {error}",
            "a list is JSON there: SEALROOM_CHAIN__RPC='[\"URL\", \"URL\"]'",
        ) from None  # fmt: skip


def variable(table: str, field: str) -> str:
    """The environment's name of a field."""
    return f"{PREFIX}{table}{DELIMITER}{field}".upper()


def _read(file: Path) -> Values:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            Code.CONFIGURATION, f"cannot read {file}: {error.strerror}", "write one: sealroom config schema"
        ) from error
    if len(data) > MAX_BYTES:
        raise ConfigurationError(Code.CONFIGURATION, f"{file} is larger than {MAX_BYTES} bytes")
    try:
        values = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, or a number without end
        raise ConfigurationError(Code.CONFIGURATION, f"{file} is no TOML: {error}") from error
    here = file.parent.absolute()
    # Also where it is the default: processes with other working folders would have a database each.
    kept = values.setdefault("database", {})
    if isinstance(kept, dict):
        kept.setdefault("url", DEFAULT_DATABASE)
        if isinstance(url := kept.get("url"), str) and (relative := _SQLITE.fullmatch(url)):
            kept["url"] = f"{relative[1]}{here / relative[2]}"
        if isinstance(place := kept.get("content"), str) and "://" not in place:
            kept["content"] = str(here / place)
    for table, section in SECTIONS.items():
        fields = values.get(table)
        if isinstance(fields, dict):
            for name, field in section.model_fields.items():
                if _is_path(field.annotation) and isinstance(fields.get(name), str):
                    fields[name] = str(here / fields[name])
    _place_options(values.get("runner"), here)
    return values


def _place_options(runner: Any, here: Path) -> None:
    """The same for the paths among a backend's own options."""
    options = runner.get("options") if isinstance(runner, dict) else None
    name = runner.get("backend", Runner.model_fields["backend"].default) if isinstance(runner, dict) else None
    if isinstance(options, dict) and isinstance(name, str) and name in backends.names():
        for field, of in backends.kind(name).options.model_fields.items():
            if _is_path(of.annotation) and isinstance(options.get(field), str):
                options[field] = str(here / options[field])


def _is_path(annotation: Any) -> bool:
    return annotation is Path or Path in getattr(annotation, "__args__", ())


def _require_known_variables() -> None:
    """A misspelt table would change nothing, and say nothing."""
    for name in os.environ:
        table, delimiter, _ = name.removeprefix(PREFIX).partition(DELIMITER)
        if name.startswith(PREFIX) and delimiter and table.lower() not in SECTIONS:
            raise ConfigurationError(
                Code.CONFIGURATION, f"${name}: there is no table [{table.lower()}]",
                f"tables are {', '.join(SECTIONS)}",
            )  # fmt: skip


def _refused(error: ValidationError, file: Path | None, asked: Values) -> ConfigurationError:
    faults = error.errors(include_url=False, include_input=False)
    told = [_fault(fault, file, asked) for fault in faults[:SHOWN_ERRORS]]
    if len(faults) > SHOWN_ERRORS:
        told.append(f"and {len(faults) - SHOWN_ERRORS} more")
    codes = {fault["type"] for fault in faults} & set(Code)
    code = Code.parse(codes.pop()) if len(codes) == 1 else Code.CONFIGURATION
    hint = "sealroom config schema says what each field may be"
    if any(fault["type"] == "missing" for fault in faults):
        where = "sealroom.toml" if file is None else str(file)
        hint = f"give the option, or write it into {where}: {hint}"
    return ConfigurationError(code, "; ".join(told), hint)


def _fault(fault: Any, file: Path | None, asked: Values) -> str:
    """One fault, under the name by which its value was given."""
    table, *rest = (str(part) for part in fault["loc"])
    field = rest[0] if rest else ""
    at = f"[{table}] {'.'.join(rest)}".rstrip()
    section = SECTIONS.get(table)
    known = section.model_fields.get(field) if section else None
    extra = known.json_schema_extra if known is not None else None
    option = str(extra["option"]) if isinstance(extra, dict) else None
    words = fault["msg"][:1].lower() + fault["msg"][1:]
    if fault["type"] == "missing":
        return f"{at} is missing" + (f" ({option})" if option else "")
    if fault["type"] == "extra_forbidden":
        there = ", ".join(section.model_fields if section else SECTIONS)
        return f"{at} is no field of {'the table' if section else 'the file'}, which has {there}"
    if option and field in asked.get(table, {}):
        return f"{option}: {words}"
    if (name := variable(table, field)) in os.environ:
        return f"${name}: {words}"
    return f"{file}: {at}: {words}" if file else f"{at}: {words}"
