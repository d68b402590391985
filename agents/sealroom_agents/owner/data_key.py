# SPDX-License-Identifier: Apache-2.0
"""The text of a plain data key: what a plain key file holds, and what each recipient of a wrapped one opens.

::

    # data key of hospital-A/cohort-A: keep it, send it to nobody
    sealroom-data-key-1 0x…
"""

from __future__ import annotations

from sealroom.encoding import to_hex
from sealroom.keys import Secret
from sealroom_agents.owner.secret_line import parse_secret

HINT = "it is the .key file that sealroom seal wrote"
_WORD = "sealroom-data-key-1"


def text(key: Secret, *, note: str) -> bytes:
    """The text; `note` says which dataset it is for."""
    return f"# data key of {note}: keep it, send it to nobody\n{_WORD} {to_hex(key.reveal())}\n".encode(
        "ascii"
    )


def parse(data: bytes, *, source: str) -> Secret:
    """The key. Raises `key-malformed`."""
    return parse_secret(data, _WORD, source=source, what="data key", hint=HINT)
