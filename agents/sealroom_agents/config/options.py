# SPDX-License-Identifier: Apache-2.0
"""Commands whose options are the fields of the configuration: a field is defined once, in `model`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from sealroom.codes import Code
from sealroom_agents.config.load import load
from sealroom_agents.config.model import PROCESSES, SECTIONS, Config
from sealroom_agents.errors import ConfigurationError

T = TypeVar("T")

CONFIG_HELP = (
    "Take what no option says from this sealroom.toml. $SEALROOM_TABLE__FIELD is over the file, an option "
    "over both."
)


def process_command(process: str) -> Callable[[Callable[[Config], None]], click.Command]:
    """Make a command of a function that takes the configuration of `process`.

    Its options are the fields of the process's own table and those of the shared ones that it reads, and
    `--config`, which names a file for the rest.
    """

    def decorate(function: Callable[[Config], None]) -> click.Command:
        def run(config: Path | None, **given: Any) -> None:
            asked: dict[str, dict[str, Any]] = {process: {}}
            for table, name, _ in fields(process):
                value = given[f"{table}_{name}"]
                if value is not None and value != ():
                    asked.setdefault(table, {})[name] = value
            function(load(config, asked))

        params: list[click.Parameter] = [
            click.Option(["--config"], type=FILE, metavar="FILE", help=CONFIG_HELP)
        ]
        params += [_option(table, name, field) for table, name, field in fields(process)]
        return click.Command(process, callback=run, params=params, help=inspect.getdoc(function))

    return decorate


FILE = click.Path(path_type=Path, dir_okay=False)


def fields(process: str) -> Iterator[tuple[str, str, FieldInfo]]:
    """Table, name and definition of all fields that a process reads and that have an option."""
    for table, names in PROCESSES[process].items():
        for name in names:
            yield table, name, SECTIONS[table].model_fields[name]
    for name, field in SECTIONS[process].model_fields.items():
        if field.json_schema_extra is not None:  # a backend's own options are in the file alone
            yield process, name, field


def required(value: T | None, table: str, name: str) -> T:
    """A value that one process needs and another does not. Raises `ConfigurationError`."""
    if value is None:
        option = option_of(SECTIONS[table].model_fields[name])
        raise ConfigurationError(
            Code.CONFIGURATION,
            f"[{table}] {name} is missing ({option})",
            "give the option, or write it into --config",
        )
    return value


def option_of(field: FieldInfo) -> str:
    """The field's option on the command line."""
    extra: Any = field.json_schema_extra
    return str(extra["option"])


def _option(table: str, name: str, field: FieldInfo) -> click.Option:
    kind, multiple = _kind(field)
    extra: Any = field.json_schema_extra
    told = field.description or ""
    if field.is_required():
        told += "  [required]"
    elif (default := _shown(field.default)) is not None:
        told += f"  [default: {default}]"
    flag = kind is click.BOOL
    return click.Option(
        [extra["option"], f"{table}_{name}"], type=None if flag else kind, is_flag=flag, multiple=multiple,
        default=None, metavar=extra.get("metavar"), help=told,
    )  # fmt: skip


def _shown(default: Any) -> str | None:
    """A default as people read it; `None` for one that says nothing."""
    value = default.get_secret_value() if isinstance(default, SecretStr) else default
    return None if value is None or value == () or isinstance(value, bool) else str(value)


def _kind(field: FieldInfo) -> tuple[click.ParamType, bool]:
    """click's type of a field, and whether its option may be repeated."""
    annotation, multiple = _plain(field.annotation), False
    if get_origin(annotation) is tuple:
        annotation, multiple = _plain(get_args(annotation)[0]), True
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation)), multiple
    bounds = {key: value for each in field.metadata for key, value in _bounds(each).items()}
    if annotation is int:
        return (click.IntRange(**bounds) if bounds else click.INT), multiple
    if annotation is float:
        return (click.FloatRange(**bounds) if bounds else click.FLOAT), multiple
    if annotation is bool:
        return click.BOOL, False
    return (click.Path(path_type=Path) if annotation is Path else click.STRING), multiple


def _plain(annotation: Any) -> Any:
    """The type without its `| None` and its validators."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if isinstance(annotation, UnionType) or type(None) in get_args(annotation):
        return _plain(next(each for each in get_args(annotation) if each is not type(None)))
    return annotation


def _bounds(metadata: Any) -> dict[str, Any]:
    """What pydantic keeps of `ge`, `gt` and `le`, as click has it."""
    found: dict[str, Any] = {}
    for name, told in (("ge", {}), ("gt", {"min_open": True}), ("le", {})):
        if (bound := getattr(metadata, name, None)) is not None:
            found |= {"max" if name == "le" else "min": bound, **told}
    return found
