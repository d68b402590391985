# SPDX-License-Identifier: Apache-2.0
"""What the host of a confidential VM tells its enclave: which run this is, and where datasets lie.

dstack puts these bytes beside the recipe, or into a variable, and measures nothing of them. So they decide
nothing: the gate holds the run against the chain, and datasets against what their owners registered. A host
that lies chooses another run that the owners approved, or none (`enclave/spec/recipe.md`, Hints).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sealroom.codes import Code
from sealroom.encoding import from_hex, normal_address, strict_json
from sealroom.errors import FormatError, HostError

MAX_HINTS_BYTES = 64 * 1024
MAX_HINTS_CHARACTERS = (MAX_HINTS_BYTES + 2) // 3 * 4
"""Most characters of a variable: so many bytes as base64, below Linux's limit of 128 KiB a variable."""
MAX_URL_CHARACTERS = 2048
MAX_DATASETS = 64
"""Most URLs: more than any recipe has datasets."""
VERSION = 1
_PLAIN = re.compile(r"[!-~]+")
_MEMBERS = {"version", "run_id", "consortium", "chain_id", "gate", "runner", "datasets"}


@dataclass(frozen=True, kw_only=True)
class Hints:
    """One run, as the host tells it."""

    run_id: bytes
    """32 bytes."""
    consortium: str
    """Lower case address."""
    chain_id: int
    gate: str
    """URL of the gate."""
    runner: str
    """URL that takes lines and outcome of this run, and of no other."""
    datasets: Mapping[str, str]
    """URL of each sealed dataset, by its path in the recipe: `hospital-A/cohort-A.tar`."""

    @classmethod
    def read(cls, path: Path) -> Hints:
        """Read the file. Raises `HostError` "hints-malformed"."""
        try:
            with path.open("rb") as stream:
                told = strict_json(stream.read(MAX_HINTS_BYTES + 1), MAX_HINTS_BYTES)
            return cls._of(told)
        except OSError as error:
            why = f"{path} cannot be read ({error.strerror})"
            raise HostError(Code.HINTS_MALFORMED, f"the host's hints are not there: {why}") from None
        except FormatError as error:
            raise HostError(Code.HINTS_MALFORMED, f"the host's hints: {error.message}") from None

    @classmethod
    def told(cls, variable: str) -> Hints:
        """Read a variable: the file's bytes as base64. Raises `HostError` "hints-malformed"."""
        try:
            return cls._of(strict_json(_decoded(variable), MAX_HINTS_BYTES))
        except FormatError as error:
            raise HostError(Code.HINTS_MALFORMED, f"the host's hints: {error.message}") from None

    @classmethod
    def _of(cls, told: dict[str, Any]) -> Hints:
        if set(told) != _MEMBERS or told["version"] is True or told["version"] != VERSION:
            raise FormatError(Code.MALFORMED, f"they must be of version {VERSION} with {sorted(_MEMBERS)}")
        chain, datasets = told["chain_id"], told["datasets"]
        if isinstance(chain, bool) or not isinstance(chain, int) or chain < 1:
            raise FormatError(Code.MALFORMED, "chain_id is no chain's id")
        if not isinstance(datasets, dict) or len(datasets) > MAX_DATASETS:
            raise FormatError(Code.MALFORMED, "datasets is no object of at most 64 URLs")
        return cls(
            run_id=from_hex(_text(told["run_id"], "run_id"), 32),
            consortium=normal_address(_text(told["consortium"], "consortium")),
            chain_id=chain,
            gate=_url(told["gate"], "gate"),
            runner=_url(told["runner"], "runner"),
            datasets={path: _url(url, "datasets") for path, url in datasets.items()},
        )


def _decoded(variable: str) -> bytes:
    if len(variable) > MAX_HINTS_CHARACTERS:
        raise FormatError(Code.TOO_LARGE, f"they are longer than {MAX_HINTS_CHARACTERS} characters")
    try:
        return base64.b64decode(variable, validate=True)
    except ValueError:  # that is no base64, or no ASCII
        raise FormatError(Code.MALFORMED, "they are no base64") from None


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_URL_CHARACTERS:
        raise FormatError(Code.MALFORMED, f"{name} is no short text")
    return value


def _url(value: Any, name: str) -> str:
    """A URL that each of our clients takes: what one of them cannot take would end us without a code."""
    text = _text(value, name)
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        usable = parts.scheme in ("http", "https") and _PLAIN.fullmatch(text) is not None
        usable = usable and bool(host.encode("idna")) and "xn--" not in host and parts.port != 0
    except ValueError:  # a port or a host that none is; UnicodeError is one
        usable = False
    if not usable:
        raise FormatError(Code.MALFORMED, f"{name} has what is no http URL")
    return text
