# SPDX-License-Identifier: Apache-2.0
"""Wrapping a data key for those that the command line names, and what is said about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sealroom_agents.cli.terminal import warn

if TYPE_CHECKING:
    from sealroom.keys import Secret
    from sealroom.sealed import SealedInfo
    from sealroom_agents.owner.custody import Party
    from sealroom_agents.owner.key_file import KeyFile, Slot

ONE_RECIPIENT = (
    "one recipient alone opens this key, and with it all is lost: "
    "add a second one, kept elsewhere, for escrow"
)


def wrapped(key: Secret, parties: Sequence[Party], *, note: str) -> list[Slot]:
    """The key for each of them. Raises `plugin-failed`, `passphrase-weak`."""
    if not parties:
        return []
    from sealroom_agents.owner import custody
    from sealroom_agents.owner.age import USUAL_WORK_FACTOR

    now, found = int(time.time()), []
    for party in parties:
        slot, factor = custody.wrap(key, party, now=now, note=note)
        if factor is not None and factor < USUAL_WORK_FACTOR:
            warn(
                f"this machine is busy, so the passphrase is stretched by 2^{factor} only: take a long "
                "random one, or wrap it again later with sealroom key rotate"
            )
        found.append(slot)
    return found


def key_file(info: SealedInfo, slots: Sequence[Slot], key: Secret) -> KeyFile:
    """The file of a wrapped key, of the sealed file that it was made for."""
    from dataclasses import replace

    from sealroom_agents.owner.custody import no_recipients

    file = no_recipients(info.header, commitment=info.index.key_commitment, now=int(time.time()))
    return replace(file, slots=tuple(slots)).signed(key)
