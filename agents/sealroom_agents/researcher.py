# SPDX-License-Identifier: Apache-2.0
"""What a researcher signs: to ask for a run, and to take one back. EIP-712, as any wallet shows it.

The digest of a signed request is the id of the run. The ledger opens an id once, so whoever hands a request
in again, here or at another console, makes no second run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from sealroom import typed
from sealroom.model import Record
from sealroom.model.kinds import B32, Seconds, Text

MAX_AGE_S = 3600
"""Longest time for which a request may be signed, seconds."""
NAME = "Sealroom Run"
VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class RunRequest(Record, what="the signed request"):
    """Asks for one run. The domain names chain and consortium."""

    recipe: B32
    """Compose hash."""
    owners: Annotated[str, Text(1024)]
    """Ids of the owners in order, with a comma and a space between two."""
    salt: B32
    """Random, so that two runs have two ids."""
    expires: Seconds
    """Unix seconds after which no console takes it."""


@dataclass(frozen=True, kw_only=True)
class RunCancellation(Record, what="the signed cancellation"):
    """Takes one run back."""

    run: B32
    """Id of the run."""
    expires: Seconds
    """Unix seconds after which no console takes it."""


def listed(owners: Iterable[str]) -> str:
    """The owners of a request as it names them."""
    return ", ".join(sorted(owners))


def signable(request: RunRequest | RunCancellation, *, chain_id: int, consortium: str) -> typed.Signable:
    """What the researcher signs."""
    return typed.structure(request.struct_hash(), domain(chain_id, consortium))


def domain(chain_id: int, consortium: str) -> dict[str, Any]:
    """The domain of both."""
    return {"name": NAME, "version": VERSION, "chainId": chain_id, "verifyingContract": consortium}


def typed_data(request: RunRequest | RunCancellation, *, chain_id: int, consortium: str) -> dict[str, Any]:
    """The JSON that a wallet's `eth_signTypedData_v4` takes."""
    return typed.typed_data(request, domain(chain_id, consortium))
