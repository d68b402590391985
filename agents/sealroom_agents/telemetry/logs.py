# SPDX-License-Identifier: Apache-2.0
"""What the processes log, and in which form: lines for people, or one JSON object a line for machines.

Everything goes through the standard library's `logging`, so that libraries are in the same form. `about`
binds run and consortium to all that a thread or task logs meanwhile. Of every URL only scheme and host is
written: paths and passwords of endpoints are often access tokens (OP-04). Messages hold codes, hashes,
addresses and the names of owners' organisations; no row, key, token or name of a person gets into one.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

FORMATS = ("text", "json")
"""For people, and for machines."""
MAX_MESSAGE_CHARACTERS = 4096
"""What is kept of one message; some are the words of nodes and enclaves."""

MAX_TRACE_CHARACTERS = 32_768
"""What is kept of the trace of an exception."""

_URL = re.compile(r"\b((?:https?|wss?|s3|postgresql(?:\+\w+)?)://)([^\s'\"<>]*)")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d+)?")


def log_to_stderr(form: str = "text") -> None:
    """Log from INFO on to stderr. Call it once, before anything else is done."""
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # APScheduler logs every job that it runs, and httpx every request, alembic each part of itself.
    quiet = (("apscheduler", logging.ERROR), ("httpx", logging.WARNING), ("alembic", logging.WARNING))
    for name, level in quiet:
        logging.getLogger(name).setLevel(level)


def formatter(form: str) -> logging.Formatter:
    """What turns a record into a line; `form` is one of `FORMATS`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _guard,
        _text if form == "text" else structlog.processors.JSONRenderer(sort_keys=True, ensure_ascii=False),
    ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)


@contextmanager
def about(**facts: str) -> Iterator[None]:
    """Bind facts, such as `run` and `consortium`, to what is logged meanwhile."""
    with structlog.contextvars.bound_contextvars(**facts):
        yield


def without_secrets(text: str) -> str:
    """The text with scheme and host alone of each URL in it."""
    return _URL.sub(_shown, text)


def _shown(url: re.Match[str]) -> str:
    place = re.split(r"[/?#]", url[2], maxsplit=1)[0].rpartition("@")[2]
    host = _HOST.match(place)
    # "user:pass/word@host" is no URL, and shows nothing either.
    return url[1] + (host[0] if host is not None and not place[host.end() :].startswith(":") else "…")


def _guard(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Every text of an event, cut, and without what an URL may carry."""
    for name, value in event.items():
        if not isinstance(value, int | float | bool | None):
            text = without_secrets(str(value))
            if name == "exception" and len(text) > MAX_TRACE_CHARACTERS:
                # What went wrong stands at the end, who asked for it at the beginning.
                half = MAX_TRACE_CHARACTERS // 2
                text = f"{text[:half]}\n…\n{text[-half:]}"
            elif name != "exception" and len(text) > MAX_MESSAGE_CHARACTERS:
                text = text[:MAX_MESSAGE_CHARACTERS] + "…"
            event[name] = text
    return event


def _text(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> str:
    moment, level, name = (event.pop(key, "") for key in ("timestamp", "level", "logger"))
    message, trace = event.pop("event", ""), event.pop("exception", "")
    bound = "".join(f" {key}={value}" for key, value in sorted(event.items()))
    line = f"{moment} {str(level).upper()} {name}: {message}{bound}".replace("\r", "\\r").replace("\n", "\\n")
    return f"{line}\n{trace}" if trace else line
