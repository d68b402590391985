# SPDX-License-Identifier: Apache-2.0
"""What may be written in several ways, brought to the one way in which it is compared: hosts, addresses."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from eth_utils.address import is_checksum_address

from sealroom.codes import Code
from sealroom.errors import FormatError

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_SEGMENT = re.compile(r"(?<=/)0x[0-9a-fA-F]{40}(?=/|$)")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:]+)(?::[0-9]{1,5})?")


def address(text: str) -> str:
    """An address in lower case, from lower case or with the checksum of EIP-55. Raises `FormatError`."""
    if not _ADDRESS.fullmatch(text):
        raise FormatError(Code.MALFORMED, "not an address: 0x and 40 hex digits")
    if text != text.lower() and not is_checksum_address(text):
        raise FormatError(
            Code.MALFORMED,
            "the address is mistyped: its capitals are not those of its checksum (EIP-55)",
            "copy it anew; in lower case it has no checksum",
        )
    return text.lower()


def path(text: str) -> str:
    """A path whose segments that are addresses are in lower case. Raises `FormatError`."""
    return _SEGMENT.sub(lambda found: address(found[0]), text) if "0x" in text else text


def host(text: str) -> str | None:
    """The name, or the address without brackets, of a `Host` header; `None` where it is none."""
    found = _HOST.fullmatch(text.strip().lower())
    if found is None:
        return None
    if found[1].startswith("["):
        try:
            return str(IPv6Address(found[1][1:-1]))
        except ValueError:
            return None
    return host_name(found[1])


def host_name(text: str) -> str:
    """A name, or an address with or without brackets, as `host` gives it."""
    name = text.strip().lower().removesuffix(".")
    try:
        found: IPv4Address | IPv6Address = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return name
    return str(found)
