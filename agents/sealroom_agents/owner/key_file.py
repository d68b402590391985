# SPDX-License-Identifier: Apache-2.0
"""The file of a wrapped data key: which dataset it is for, and one age file for each recipient.

Canonical JSON, and a line feed. Each recipient's age file holds the same text, that of a plain key file, so
that `age -d` gives what every command reads. Its facts are authenticated under the data key itself: whoever
opens the key learns that nobody else changed them. Spec: `enclave/spec/key-file.md`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import Fields, canonical, lp, parse_canonical, sha256, to_hex
from sealroom.errors import FormatError
from sealroom.keys import Secret, hkdf_sha256
from sealroom.sealed import key_commitment
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.age import MAX_ARMOURED_CHARACTERS, MAX_RECIPIENT_CHARACTERS, Recipient

VERSION = 1
KIND = "sealroom-key"
MAX_RECIPIENTS = 16
MAX_BYTES = 512 * 1024
PASSPHRASE = "passphrase"
"""Stands where a recipient would, for one that is a passphrase."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_DATASET = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_ARMOURED = re.compile(
    r"-----BEGIN AGE ENCRYPTED FILE-----\n(?:[A-Za-z0-9+/=]{1,64}\n)+-----END AGE ENCRYPTED FILE-----\n"
)
_TEXT = re.compile(r"[ -~]+")


@dataclass(frozen=True)
class Slot:
    """The data key for one recipient."""

    name: str
    """What its owner calls the recipient: officer, escrow."""
    recipient: str
    """The recipient's public text, or `PASSPHRASE`."""
    added: int
    """When, in seconds of Unix time."""
    wrapped: str
    """An armoured age file."""

    @property
    def short(self) -> str:
        """The recipient, short enough for a line."""
        return PASSPHRASE if self.recipient == PASSPHRASE else Recipient(self.recipient).short

    def json(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "name": self.name, "recipient": self.recipient, "added": self.added, "wrapped": self.wrapped,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class KeyFile:
    """A wrapped data key."""

    owner: str
    """Account that registers the dataset."""
    dataset: str
    """The dataset's name."""
    dataset_version: int
    """Number of the sealed file among its versions."""
    dataset_id: bytes
    """Id of the dataset on chain, 32 bytes."""
    header: bytes
    """Digest of the sealed file's header, 32 bytes."""
    commitment: bytes
    """Commitment to the data key, 32 bytes, as the owner registers it."""
    created: int
    """When it was made, in seconds of Unix time."""
    slots: tuple[Slot, ...]
    """For whom."""
    tag: bytes = b""
    """Over all else, under the data key: 32 bytes."""

    @property
    def title(self) -> str:
        """Which dataset, in words."""
        return f"{self.dataset} of {self.owner}, version {self.dataset_version}"

    @property
    def note(self) -> str:
        """What the plain key's text says of the dataset."""
        version = "" if self.dataset_version == 1 else f", version {self.dataset_version}"
        return f"{self.owner}/{self.dataset}{version}"

    def signed(self, key: Secret) -> KeyFile:
        """The same with its tag."""
        return replace(self, tag=self._tag(key))

    def verify(self, key: Secret) -> None:
        """Check that the key is the one of this dataset, and the facts as they were written with it.

        Raises `key-file-altered`.
        """
        known = key_commitment(key, header_digest=self.header)
        if not (
            hmac.compare_digest(known, self.commitment) and hmac.compare_digest(self._tag(key), self.tag)
        ):
            raise ToolError(
                Code.KEY_FILE_ALTERED,
                "the key's file was altered: what it says does not fit the key that it holds",
                "take it from a backup; what it says of recipients must not be trusted",
            )

    def _tag(self, key: Secret) -> bytes:
        info = lp("sealroom/v1/key-file", sha256(canonical(self._facts())))
        return hkdf_sha256(key.reveal(), salt=self.header, info=info)

    def _facts(self) -> Mapping[str, Any]:
        return {
            "version": VERSION,
            "kind": KIND,
            "owner": self.owner,
            "dataset": self.dataset,
            "datasetVersion": self.dataset_version,
            "datasetId": to_hex(self.dataset_id),
            "header": to_hex(self.header),
            "keyCommitment": to_hex(self.commitment),
            "created": self.created,
            "recipients": [slot.json() for slot in self.slots],
        }

    def encode(self) -> bytes:
        """The file's bytes."""
        return canonical({**self._facts(), "tag": to_hex(self.tag)}) + b"\n"

    @classmethod
    def parse(cls, data: bytes, *, name: str) -> KeyFile:
        """Read a key's file; `name` is what messages call it. Raises `key-malformed`, `unsupported-version`.

        What it says is not yet authenticated: see `verify`.
        """
        try:
            if not data.endswith(b"\n"):
                raise FormatError(Code.MALFORMED, "it is cut short")
            fields = Fields(parse_canonical(data[:-1], MAX_BYTES), name, code=Code.KEY_MALFORMED)
            fields.version(VERSION)
            if fields.raw("kind") != KIND:
                fields.fail("is no wrapped data key")
            found = cls(
                owner=fields.address("owner"),
                dataset=fields.text("dataset", limit=64, pattern=_DATASET),
                dataset_version=fields.integer("datasetVersion", 1, 2**32 - 1),
                dataset_id=fields.hex("datasetId", 32),
                header=fields.hex("header", 32),
                commitment=fields.hex("keyCommitment", 32),
                created=fields.integer("created"),
                slots=tuple(
                    _slot(value, f"{name}: recipient {number}")
                    for number, value in enumerate(fields.array("recipients", limit=MAX_RECIPIENTS), 1)
                ),
                tag=fields.hex("tag", 32),
            )
            fields.done()
            if not found.slots or len({slot.name for slot in found.slots}) < len(found.slots):
                fields.fail("has no recipients, or two of one name")
        except FormatError as error:
            code = error.code if error.code == Code.UNSUPPORTED_VERSION else Code.KEY_MALFORMED
            raise ToolError(code, f"{name} is no wrapped data key: {error.message}") from None
        return found


def slot_name(text: str) -> str:
    """A name for a recipient as it is typed. Raises `recipient-malformed`."""
    if _NAME.fullmatch(text) is None:
        raise ToolError(
            Code.RECIPIENT_MALFORMED, f"{text!r} cannot name a recipient", "letters, digits and . _ @ + -"
        )
    return text


def _slot(value: Any, what: str) -> Slot:
    fields = Fields(value, what, code=Code.KEY_MALFORMED)
    slot = Slot(
        name=fields.text("name", limit=64, pattern=_NAME),
        recipient=fields.text("recipient", limit=MAX_RECIPIENT_CHARACTERS, pattern=_TEXT),
        added=fields.integer("added"),
        wrapped=fields.text(
            "wrapped", limit=MAX_ARMOURED_CHARACTERS, pattern=_ARMOURED, words="an armoured age file"
        ),
    )
    fields.done()
    return slot
