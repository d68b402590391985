# SPDX-License-Identifier: Apache-2.0
"""The folder of a local room, and what is in it."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sealroom.codes import Code
from sealroom.errors import SealroomError
from sealroom.files import PUBLIC, write_atomic
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom_agents.config import Config

ROOM_FILE = "room.json"
VERSION = 2
PASSPHRASE = "local"
"""Of all keystores: they hold the published keys of a development chain."""


E = TypeVar("E", bound=SealroomError)


@dataclass(frozen=True)
class Places:
    """Where things lie below a room's folder."""

    folder: Path

    @property
    def room(self) -> Path:
        """Addresses, owners, and whose study it is."""
        return self.folder / ROOM_FILE

    @property
    def config(self) -> Path:
        """The configuration of all its processes."""
        return self.folder / "sealroom.toml"

    @property
    def platform(self) -> Path:
        """The simulated platform."""
        return self.folder / "platform"

    @property
    def root(self) -> Path:
        """The root that stands in for Intel's."""
        return self.platform / "root.der"

    @property
    def policy(self) -> Path:
        """The platform policy that the owners adopt with the gate."""
        return self.folder / "platform-policy.json"

    @property
    def recipe(self) -> Path:
        """The recipe's exact bytes."""
        return self.folder / "app-compose.json"

    @property
    def card(self) -> Path:
        """The study card."""
        return self.folder / "study.json"

    @property
    def pin(self) -> Path:
        """What results are proven against."""
        return self.folder / "pin.json"

    @property
    def how(self) -> Path:
        """The recording of a run that the console walks through, once there is one."""
        return self.folder / "how.json"

    @property
    def chain(self) -> Path:
        """What the local chain keeps."""
        return self.folder / "chain"

    @property
    def sealed(self) -> Path:
        """Sealed datasets, as OWNER/NAME.tar, and OWNER/NAME.v2.tar: what leaves the owners."""
        return self.folder / "sealed"

    @property
    def received(self) -> Path:
        """What the runner has of them, as OWNER/NAME.tar: the newest version that is registered."""
        return self.folder / "received"

    @property
    def console_key(self) -> Path:
        """Key that signs what the console answers."""
        return self.folder / "console.key"

    def owner(self, owner: str) -> Path:
        """What stays with one owner: its account, its data keys."""
        return self.folder / "owners" / owner

    def keys(self, owner: str) -> Path:
        """The owner's data keys, as NAME.key, and its report key."""
        return self.owner(owner) / "keys"

    def keystore(self, owner: str) -> Path:
        """The owner's account."""
        return self.owner(owner) / "account.json"


@dataclass(frozen=True)
class Room:
    """A room that was set up."""

    folder: Path
    """Where it lies, absolute."""
    study: str
    """Folder of the study, absolute."""
    rpc: str
    """URL of the chain."""
    gate: str
    """URL."""
    console: str
    """URL."""
    consortium: str
    """Address."""
    app: str
    """Address of its DstackApp."""
    ledger: str
    factory: str
    owners: dict[str, str]
    """Accounts by owner id, in their order on chain."""
    threshold: int
    """So many of them decide."""

    @property
    def places(self) -> Places:
        """Where things lie."""
        return Places(self.folder)

    @property
    def config(self) -> Config:
        """Of its processes."""
        from sealroom_agents.config import load

        return load(self.places.config)

    def write(self) -> None:
        """Keep it in the folder."""
        content: dict[str, Any] = {"version": VERSION, **asdict(self)}
        del content["folder"]
        write_atomic(
            self.places.room, json.dumps(content, indent=1).encode() + b"\n", mode=PUBLIC, replace=True
        )

    def away(self, error: E) -> E:
        """An error that says that a node or console does not answer, as one that says that the room is not
        running, where it is the room's; any other as it is."""
        if error.code not in (Code.CHAIN_UNREACHABLE, Code.CONSOLE_UNREACHABLE):
            return error
        if not any(url.rstrip("/") in error.message for url in (self.rpc, self.console)):
            return error
        return type(error)(
            error.code,
            f"the room in {self.folder} is not running: {error.message}",
            f"start it, and leave it running: sealroom up --local {shlex.quote(self.study)} --dir "
            f"{shlex.quote(str(self.folder))}; without it, an envelope with proofs is verified by "
            f"--pin {shlex.quote(str(self.places.pin))} "
            f"--simulated-root {shlex.quote(str(self.places.root))}",
        )

    @classmethod
    def read(cls, folder: Path) -> Room:
        """The room in a folder. Raises `ToolError` `room-missing`."""
        try:
            content = json.loads(Places(folder).room.read_bytes())
            version = content.pop("version")
            if version != VERSION:
                raise ToolError(
                    Code.ROOM_MISSING, f"{folder} holds a room of version {version}, not {VERSION}",
                    "start a new one: sealroom up --local STUDY --dir FOLDER",
                )  # fmt: skip
            if set(content) != {field.name for field in fields(cls)} - {"folder"}:
                raise ValueError
            return cls(folder=folder.absolute(), **content)
        except FileNotFoundError:
            raise ToolError(
                Code.ROOM_MISSING,
                f"{folder} holds no room",
                "start one, and leave it running: sealroom up --local STUDY",
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ToolError(Code.ROOM_MISSING, f"{folder}/{ROOM_FILE} cannot be read") from error
