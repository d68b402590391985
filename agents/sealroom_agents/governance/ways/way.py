# SPDX-License-Identifier: Apache-2.0
"""The way that was chosen, and the account that sends or signs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.acts import Wallet


@dataclass(frozen=True)
class Way:
    """How it leaves: at most one of the files."""

    wallet: Callable[[], Wallet] | None
    """Opens the account that sends or signs; `None` where none was named."""
    account: str | None
    """That account's address, where it is known without opening it."""
    owner: str | None = None
    safe: Path | None = None
    calldata: bool = False
    request: Path | None = None
    sign: Path | None = None
    signatures: tuple[Path, ...] = ()
    dry_run: bool = False
    """Nothing leaves at all: it is tried, and told."""

    def check(self) -> None:
        """Raises `usage` where two ways are named at once."""
        chosen = [
            name
            for name, given in (
                ("--safe", self.safe),
                ("--calldata", self.calldata),
                ("--request", self.request),
                ("--sign", self.sign),
                ("--signatures", self.signatures),
            )
            if given
        ]
        if len(chosen) > 1:
            raise ToolError(Code.WAY_UNCLEAR, f"{' and '.join(chosen)} exclude each other", "choose one way")
        if self.owner and self.sign:
            raise ToolError(
                Code.WAY_UNCLEAR, "--sign signs with the account itself", "for another owner: --request"
            )

    @property
    def acting(self) -> str | None:
        """The account whose act it is."""
        return self.owner or self.account


def open_wallet(way: Way) -> Wallet:
    if way.wallet is None:
        raise ToolError(
            Code.WAY_UNCLEAR,
            "no account was named that could send or sign",
            "name one, or use --safe, --calldata or --request with --owner",
        )
    return way.wallet()
