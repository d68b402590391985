# SPDX-License-Identifier: Apache-2.0
"""An owner's signing key from an Ethereum keystore file (Web3 Secret Storage, version 3)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import normal_address
from sealroom.errors import FormatError
from sealroom.files import FileExposed, read_private
from sealroom.keys import Secret, address_of
from sealroom_agents.errors import ToolError

MAX_KEYSTORE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Keystore:
    """A keystore file, read and still locked."""

    path: Path
    """Where it lies."""
    address: str | None
    """The account that it names, lower case; some tools leave it out."""
    content: dict[str, Any] = field(repr=False)
    """The file's JSON."""

    def unlock(self, passphrase: str) -> Signer:
        """The key itself. Raises `wrong-passphrase` or `keystore-malformed`."""
        from eth_account import Account

        try:
            key = Secret(bytes(Account.decrypt(self.content, passphrase)))
        except ValueError as error:
            if "MAC" in str(error):
                raise ToolError(
                    Code.WRONG_PASSPHRASE, f"the passphrase does not open {self.path}", "nothing was signed"
                ) from None
            raise _malformed(self.path) from None
        except (KeyError, TypeError, AttributeError, NotImplementedError):
            raise _malformed(self.path) from None
        signer = Signer(address=address_of(key.reveal()), key=key)
        if self.address not in (None, signer.address):
            key.wipe()
            raise ToolError(
                Code.KEYSTORE_MALFORMED, f"{self.path} holds another key than that of {self.address}"
            )
        return signer


@dataclass(frozen=True)
class Signer:
    """An unlocked account. Call `key.wipe()` when done."""

    address: str
    """Its address, lower case."""
    key: Secret = field(repr=False)
    """Its private key."""


def read(path: Path) -> Keystore:
    """Read a keystore file. Raises `keystore-missing`, `keystore-malformed`, and `key-exposed` when others
    on this machine can read it."""
    if not path.is_file():
        raise ToolError(Code.KEYSTORE_MISSING, f"{path}: no such file", "name an Ethereum keystore file")
    try:
        data = read_private(path, MAX_KEYSTORE_BYTES)
    except FileExposed as error:
        raise ToolError(Code.KEY_EXPOSED, error.reason, error.remedy) from None
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise _malformed(path) from None
    if len(data) > MAX_KEYSTORE_BYTES or not isinstance(content, dict) or content.get("version") != 3:
        raise _malformed(path)
    address = content.get("address")
    try:
        named = None if address is None else normal_address("0x" + str(address).removeprefix("0x"))
    except FormatError:
        raise _malformed(path) from None
    return Keystore(path=path, address=named, content=content)


def _malformed(path: Path) -> ToolError:
    return ToolError(
        Code.KEYSTORE_MALFORMED,
        f"{path} is no Ethereum keystore file of version 3",
        "geth, Ape, cast and most wallets export one",
    )
