# SPDX-License-Identifier: Apache-2.0
"""Names for which this console's operator vouches: a file of consortia and accounts with their names.

Anybody can create a consortium and name whom it likes. The file does not stop that. With it the pages say
whose word a name is, and a name that is pinned at another address stands out. Form:

    [[consortium]]
    chain = 8453
    address = "0x…"
    name = "Cardio-renal cohort study"
    domain = "healthcare"
    about = "Four hospitals, one answer."
    [consortium.owners]
    "0x…" = "hospital-A"
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.model import Owner
from sealroom_agents.errors import ConfigurationError

MAX_BYTES = 256 * 1024
MAX_TEXT = 200
"""Longest name or text, characters."""
ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s"})
"""Letters and digits that people take for one another."""


@dataclass(frozen=True)
class Pinned:
    """One consortium of the file."""

    chain: int
    address: str
    """0x and 40 lower-case digits."""
    name: str
    domain: str
    about: str
    owners: dict[str, str]
    """Name by account."""


@dataclass(frozen=True)
class Spoof:
    """A name that is pinned, at another address."""

    name: str
    """As it stands here."""
    here: str
    """Its address here."""
    pinned: str
    """The address that the operator pinned."""


@dataclass(frozen=True)
class Pins:
    """The whole file; empty where there is none."""

    consortia: tuple[Pinned, ...] = ()
    _named: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {alike(one.name): one.address for one in self.consortia}
        names |= {alike(name): account for one in self.consortia for account, name in one.owners.items()}
        object.__setattr__(self, "_named", names)

    def of(self, chain: int, address: str) -> Pinned | None:
        """What is pinned of a consortium."""
        return next((one for one in self.consortia if (one.chain, one.address) == (chain, address)), None)

    def naming(self, chain: int, account: str) -> list[str]:
        """Addresses of the consortia in which the file names this account as an owner."""
        return [one.address for one in self.consortia if one.chain == chain and account in one.owners]

    def vouched(self, chain: int, address: str, owners: Iterable[Owner]) -> bool:
        """Whether the file names each owner of a consortium as the contract does."""
        pinned = self.of(chain, address)
        return pinned is not None and all(pinned.owners.get(one.account) == one.id for one in owners)

    def spoofs(self, address: str, name: str, owners: Iterable[Owner]) -> tuple[Spoof, ...]:
        """Names of a consortium and of its owners that are pinned at another address."""
        stated = [(name, address), *((one.id, one.account) for one in owners)]
        found = ((said, here, self._named.get(alike(said))) for said, here in stated if alike(said))
        return tuple(Spoof(said, here, pinned) for said, here, pinned in found if pinned not in (None, here))


def alike(name: str) -> str:
    """What two names share that readers take for one another: their letters and digits, lookalikes as one."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(one for one in plain if one.isalnum()).translate(ALIKE)


def read_pins(path: Path | None) -> Pins:
    """The operator's file. Raises `ConfigurationError`."""
    if path is None:
        return Pins()
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES // 1024} KiB")
        parsed = tomllib.loads(data.decode())
        if set(parsed) - {"consortium"}:
            raise ValueError("it has other tables than [[consortium]]")
        return Pins(tuple(_pinned(one) for one in parsed.get("consortium", [])))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            Code.CONFIGURATION,
            f"the pin file {path}: {error}",
            "its form: docs/operations.md, “Pinned names”",
        ) from error


def _pinned(given: dict[str, Any]) -> Pinned:
    if unknown := set(given) - {"chain", "address", "name", "domain", "about", "owners"}:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return Pinned(
        chain=int(given["chain"]),
        address=_address(given["address"]),
        name=_text(given["name"]),
        domain=_text(given.get("domain", "")),
        about=_text(given.get("about", "")),
        owners={_address(account): _text(name) for account, name in given.get("owners", {}).items()},
    )


def _address(text: str) -> str:
    lower = text.lower()
    if len(lower) != 42 or not lower.startswith("0x") or set(lower[2:]) - set("0123456789abcdef"):
        raise ValueError(f"{text[:60]!r} is no address")
    return lower


def _text(text: object) -> str:
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise ValueError(f"a text is none, or longer than {MAX_TEXT} characters")
    return text
