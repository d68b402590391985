# SPDX-License-Identifier: Apache-2.0
"""The small part of YAML that recipes are written in: a strict reader, and a writer with one text a value.

Owners read the text, docker reads the text, and we read it: whatever two readers could take differently is
refused. No anchors, aliases, tags, merge keys or duplicate names; `no` and `12:30` are text, not a boolean
and a number; a number with a point is given as its text, since floats would not survive hashing.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from sealroom.codes import Code
from sealroom.encoding import MAX_DEPTH, MAX_INTEGER
from sealroom.errors import FormatError
from sealroom.visible import visible

_LINE_LENGTH = 100
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What some YAML reader takes for something else than text."""


class _Reader(yaml.SafeLoader):
    """SafeLoader without the conversions of YAML 1.1 that surprise people."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 — as PyYAML declares it

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise FormatError(Code.MALFORMED, "YAML aliases are not allowed")
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None or getattr(event, "tag", None) is not None:
            raise FormatError(Code.MALFORMED, "YAML anchors and tags are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(name, deep=True) for name, _ in node.value]
        if not all(isinstance(name, str) for name in names):
            raise FormatError(Code.MALFORMED, "a YAML mapping has a name that is not text")
        if len(set(names)) != len(names):
            place = next(at for at, name in enumerate(names) if name in names[:at])
            line = node.value[place][0].start_mark.line + 1
            raise FormatError(Code.MALFORMED, f"a YAML mapping has one name twice, in line {line}")
        return super().construct_mapping(node, deep=True)


def _integer(loader: _Reader, node: Any) -> int:
    text = str(node.value)
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise FormatError(Code.MALFORMED, "an integer is beyond 2^53 - 1")
    return int(text)


_Reader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), list("tf"))
_Reader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"-?(?:0|[1-9][0-9]*)\Z"), list("-0123456789")
)
_Reader.add_constructor("tag:yaml.org,2002:int", _integer)


def load(text: str) -> Any:
    """Read YAML text. Gives dictionaries, lists, text, integers and booleans; raises only `FormatError`."""
    try:
        value = yaml.load(text, Loader=_Reader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise FormatError(Code.MALFORMED, f"not valid YAML{where}") from None
    except RecursionError:
        raise FormatError(Code.MALFORMED, "YAML is nested too deeply") from None
    _check_depth(value, MAX_DEPTH)
    return value


def dump(value: dict[str, Any]) -> str:
    """Write YAML text: always the same for the same value, in the order of the dictionaries.

    Text with line breaks becomes a literal block, which must be `is_block_text`.
    """
    return "".join(_mapping(value, ""))


def is_block_text(text: str) -> bool:
    """Whether text survives as a literal block and looks to a reader like what it is.

    Visible characters only (no tabs, no direction marks that would show code in another order, no fillers
    that make two names of one), no trailing spaces, one line break at the end, and no blank or indented first
    line.
    """
    lines = text.split("\n")
    return (
        lines[-1] == ""
        and len(lines) > 1
        and lines[-2] != ""
        and lines[0] != ""
        and not lines[0].startswith(" ")
        and all(visible(line) and not line.endswith(" ") for line in lines)
    )


def _mapping(value: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for name, item in value.items():
        lines.extend(_entry(f"{indent}{_scalar(name)}:", item, indent + "  "))
    return lines


def _entry(head: str, item: Any, indent: str) -> list[str]:
    if isinstance(item, dict) and item:
        return [head + "\n", *_mapping(item, indent)]
    if isinstance(item, list) and item:
        flow = _flow(item)
        if flow is not None and len(head) + len(flow) < _LINE_LENGTH:
            return [f"{head} {flow}\n"]
        return [head + "\n", *_sequence(item, indent)]
    if isinstance(item, str) and "\n" in item:
        if not is_block_text(item):
            raise FormatError(Code.MALFORMED, "text with line breaks that cannot be shown as it is")
        shown = [f"{indent}{line}\n" if line else "\n" for line in item.split("\n")[:-1]]
        return [f"{head} |\n", *shown]
    return [f"{head} {_leaf(item)}\n"]


def _sequence(value: list[Any], indent: str) -> list[str]:
    lines: list[str] = []
    for item in value:
        if isinstance(item, dict) and item:
            first, *rest = _mapping(item, indent + "  ")
            lines.append(f"{indent}- {first.removeprefix(indent + '  ')}")
            lines.extend(rest)
        else:
            lines.append(f"{indent}- {_leaf(item)}\n")
    return lines


def _flow(value: list[Any]) -> str | None:
    if any(isinstance(item, dict | list) for item in value):
        return None
    return "[" + ", ".join(_scalar(item) for item in value) + "]"


def _leaf(value: Any) -> str:
    if value == {} and isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        flow = _flow(value)
        if flow is None:
            raise FormatError(Code.MALFORMED, "a list within a list")
        return flow
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise FormatError(Code.MALFORMED, f"cannot write {type(value).__name__} as YAML")
    if _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    if not visible(value):
        raise FormatError(Code.MALFORMED, "text with characters that cannot be shown as they are")
    # A JSON string of printable characters is a double-quoted YAML string.
    return json.dumps(value, ensure_ascii=False)


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise FormatError(Code.MALFORMED, f"YAML is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for item in value.values():
            _check_depth(item, left - 1)
    elif isinstance(value, list):
        for item in value:
            _check_depth(item, left - 1)
