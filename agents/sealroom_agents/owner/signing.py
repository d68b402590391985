# SPDX-License-Identifier: Apache-2.0
"""An owner's signature over a sealed file's index: who stands behind these parts, without asking a chain.

What is signed names the digests of the header and of the unsigned index, so a signature put in later changes
neither, nor what was registered on chain.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import from_hex
from sealroom.errors import FormatError
from sealroom.sealed import Index, SealedArchive
from sealroom.sealed.archive import BLOCK, INDEX_NAME, padded, write_end, write_member
from sealroom.sealed.target import sealed_output
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.disk_space import need
from sealroom_agents.owner.keystore import Signer

MAX_SIGNATURE_TEXT = 1024
COPY_BYTES = 8 * 1024 * 1024


def sign(index: Index, signer: Signer) -> bytes:
    """The owner's signature, 65 bytes."""
    return typed.sign(index.message(), signer.key.reveal())


def read_signature(text: str) -> bytes:
    """A signature as `0x…`, or the name of a file that holds it. Raises `signature-malformed`."""
    given = text.strip()
    if not given.startswith("0x"):
        try:
            with Path(given).open("rb") as stream:
                given = stream.read(MAX_SIGNATURE_TEXT).decode("ascii", errors="replace").strip()
        except OSError as error:
            raise ToolError(Code.SIGNATURE_MALFORMED, f"cannot read {text}: {error.strerror}") from None
    try:
        signature = from_hex(given.lower(), typed.SIGNATURE_SIZE)
    except FormatError:
        raise ToolError(
            Code.SIGNATURE_MALFORMED,
            "a signature is 0x and 130 hex digits, or a file that holds that",
            "sign what `sealroom sign --show` prints, as a personal message",
        ) from None
    # Some wallets still end it in 0 or 1.
    return signature[:64] + bytes([signature[64] + 27]) if signature[64] < 2 else signature


def signer_of(index: Index, signature: bytes) -> str:
    """Who made this signature over this index. Raises `index-signature`."""
    return replace(index, signature=signature).signer() or ""


def attach(path: Path, signature: bytes) -> None:
    """Write the file anew with this signature in its index, in its place. Raises `SealError`
    `index-signature`, or `source-changed`."""
    with SealedArchive.open(path) as archive:
        signed = replace(archive.info.index, signature=signature)
        signed.signer()
        head = archive.info.sealed_size - _tail(archive.info.index)
    need(path.parent, path.stat().st_size, what=f"the signed {path}")
    with path.open("rb") as source, sealed_output(path, overwrite=True) as stream:
        while head:
            piece = source.read(min(COPY_BYTES, head))
            if not piece:
                raise ToolError(Code.SOURCE_CHANGED, f"{path} became shorter while it was read")
            stream.write(piece)
            head -= len(piece)
        write_member(stream, INDEX_NAME, signed.encode())
        write_end(stream)


def _tail(index: Index) -> int:
    """Bytes from the index's frame to the end of the archive."""
    return BLOCK + padded(len(index.encode())) + 2 * BLOCK


def require_owner(signer: str, account: str, *, owner: str) -> None:
    """Raise `signer-not-owner` unless the signer is the account that votes for this owner."""
    if signer != account:
        raise ToolError(
            Code.SIGNER_NOT_OWNER,
            f"{signer} signs, and {owner} votes with {account}",
            "sign with the owner's own account; a contract wallet registers on chain instead",
        )
