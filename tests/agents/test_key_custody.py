# SPDX-License-Identifier: Apache-2.0
"""Wrapped data keys: each recipient opens the same key, and what the file says is believed only then."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroom.codes import Code
from sealroom.encoding import canonical
from sealroom.errors import SealroomError
from sealroom.keys import Secret
from sealroom.sealed import Header, key_commitment
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import age, custody, data_key
from sealroom_agents.owner.custody import Openers, Party
from sealroom_agents.owner.key_file import MAX_BYTES, MAX_RECIPIENTS, KeyFile

PASSPHRASE = "correct horse battery staple"
HEADER = Header(
    owner="0x" + "11" * 20, dataset="cohort-A", dataset_version=2, media_type="application/octet-stream",
    columns=None, rows=None, size=5, part_size=16384, report_key=None, salt=bytes(32),
)  # fmt: skip
NOW = 1_796_000_000
OFFICER, ESCROW, STRANGER = (pyrage.x25519.Identity.generate() for _ in range(3))
KEY = Secret.generate()


def party(name: str, identity: Any) -> Party:
    return Party(name, age.recipient(str(identity.to_public())))


def made(*parties: Party, key: Secret = KEY) -> KeyFile:
    file = custody.no_recipients(HEADER, commitment=key_commitment(key, header_digest=HEADER.digest), now=NOW)
    for each in parties:
        slot, _ = custody.wrap(key, each, now=NOW, note=file.note)
        file = custody.added(file, slot, key)
    return file


@pytest.fixture(scope="module")
def file() -> KeyFile:
    return made(party("officer", OFFICER), party("escrow", ESCROW), Party("passphrase", None, PASSPHRASE))


def opened(file: KeyFile, *identities: Any, passphrase: str | None = None, **more: Any) -> custody.Opened:
    ask = None if passphrase is None else lambda: passphrase
    held = {f"{number}.txt": [identity] for number, identity in enumerate(identities)}
    return custody.open_key(file, Openers(held, ask), name="a.key", **more)


def refused(code: Code, act: Callable[..., object], *given: Any, **named: Any) -> ToolError:
    with pytest.raises(ToolError) as error:
        act(*given, **named)
    assert error.value.code == code, error.value
    return error.value


def test_each_recipient_opens_it_alone(file: KeyFile) -> None:
    for identity, name in ((OFFICER, "officer"), (ESCROW, "escrow")):
        found = opened(file, identity)
        assert (found.key.reveal(), found.by) == (KEY.reveal(), (name,))
    found = opened(file, passphrase=PASSPHRASE)
    assert (found.key.reveal(), found.by) == (KEY.reveal(), ("passphrase",))
    all_ways = opened(file, OFFICER, ESCROW, passphrase=PASSPHRASE, all_of_them=True)
    assert (all_ways.by, all_ways.refused, all_ways.idle) == (("officer", "escrow", "passphrase"), (), ())


def test_who_tries_all_is_told_what_opens_nothing(file: KeyFile) -> None:
    some = opened(file, STRANGER, ESCROW, all_of_them=True)
    assert (some.by, some.refused, some.idle) == (("escrow",), ("officer",), ("0.txt",))
    wrong = opened(file, OFFICER, passphrase=PASSPHRASE.upper(), all_of_them=True)
    assert (wrong.by, wrong.refused, wrong.idle) == (
        ("officer",), ("escrow", "passphrase"), ("the passphrase",),
    )  # fmt: skip
    two = made(party("officer", OFFICER), party("escrow", ESCROW))
    for named, spent, idle in ((True, False, ("the passphrase",)), (False, True, ()), (False, False, ())):
        given = Openers({"a": [OFFICER]}, lambda: PASSPHRASE, named, spent)
        assert custody.open_key(two, given, name="a.key", all_of_them=True).idle == idle


def test_a_damaged_copy_is_one_that_does_not_open(file: KeyFile) -> None:
    """Signed as it is: a copy that was never whole."""
    torn = replace(file.slots[1], wrapped=made(party("escrow", STRANGER)).slots[0].wrapped)
    signed = replace(file, slots=(file.slots[0], torn)).signed(KEY)
    found = opened(signed, OFFICER, ESCROW, all_of_them=True)
    assert (found.by, found.refused, found.idle) == (("officer",), ("escrow",), ("1.txt",))


def test_what_is_not_needed_is_not_asked_for(file: KeyFile) -> None:
    def never() -> str:
        raise AssertionError

    assert custody.open_key(file, Openers({"a": [OFFICER]}, never), name="a.key").by == ("officer",)


def test_nobody_else_opens_it(file: KeyFile) -> None:
    refused(Code.IDENTITY_DOES_NOT_OPEN, opened, file, STRANGER)
    refused(Code.IDENTITY_DOES_NOT_OPEN, opened, file, passphrase=PASSPHRASE.upper())
    error = refused(Code.IDENTITY_NEEDED, opened, file)
    assert "officer (age1" in error.message


def test_plain_age_opens_it_and_gives_a_plain_key_file(file: KeyFile) -> None:
    """What stands in the file is the format of age, and its content what every command reads."""
    content = pyrage.decrypt(file.slots[0].wrapped.encode(), [OFFICER])
    assert data_key.parse(content, source="age").reveal() == KEY.reveal()
    assert content.startswith(b"# data key of 0x1111")


def test_what_plain_age_wrote_opens_here(file: KeyFile) -> None:
    text = data_key.text(KEY, note=file.note)
    other = pyrage.encrypt(text, [STRANGER.to_public()], armored=True).decode()
    slots = (replace(file.slots[0], wrapped=other),)
    assert opened(replace(file, slots=slots).signed(KEY), STRANGER).key.reveal() == KEY.reveal()


def test_it_is_read_back_as_it_was_written(file: KeyFile) -> None:
    assert KeyFile.parse(file.encode(), name="a.key") == file
    assert KEY.reveal().hex().encode() not in file.encode()
    assert "AGE-SECRET-KEY" not in repr(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["recipients"][1].update(recipient=str(STRANGER.to_public())),
        lambda v: v["recipients"][1].update(name="boss"),
        lambda v: v["recipients"].pop(),
        lambda v: v["recipients"].reverse(),
        lambda v: v.update(dataset="cohort-B"),
        lambda v: v.update(datasetVersion=3),
        lambda v: v.update(created=1),
        lambda v: v.update(header="0x" + "22" * 32),
        lambda v: v.update(keyCommitment="0x" + "22" * 32),
        lambda v: v.update(tag="0x" + "22" * 32),
    ],
)
def test_whoever_changes_it_without_the_key_is_found_out(
    file: KeyFile, change: Callable[[Any], object]
) -> None:
    """CE-12: a recipient that somebody wrote into it gets nothing at the next change."""
    value = json.loads(file.encode())
    change(value)
    altered = KeyFile.parse(canonical(value) + b"\n", name="a.key")
    refused(Code.KEY_FILE_ALTERED, opened, altered, OFFICER)


def test_another_key_for_the_same_recipient_is_found_out(file: KeyFile) -> None:
    """CE-12: anybody can encrypt to a recipient."""
    other = made(party("officer", OFFICER), key=Secret.generate())
    mixed = replace(file, slots=(other.slots[0], *file.slots[1:]))
    refused(Code.KEY_FILE_ALTERED, opened, mixed, OFFICER)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(version=2),
        lambda v: v.update(kind="key"),
        lambda v: v.update(more=1),
        lambda v: v.update(recipients=[]),
        lambda v: v.update(recipients=v["recipients"] * 2),
        lambda v: v.update(recipients=v["recipients"] * MAX_RECIPIENTS),
        lambda v: v.update(dataset="../a"),
        lambda v: v.update(owner="0x12"),
        lambda v: v.update(created=-1),
        lambda v: v["recipients"][0].update(wrapped="-----BEGIN"),
        lambda v: v["recipients"][0].update(name="a b"),
        lambda v: v["recipients"][0].update(recipient="age1\n"),
        lambda v: v["recipients"][0].update(recipient="a" * 5000),
        lambda v: v["recipients"][0].pop("added"),
    ],
)
def test_another_form_is_refused(file: KeyFile, change: Callable[[Any], object]) -> None:
    value = json.loads(file.encode())
    change(value)
    with pytest.raises(ToolError) as error:
        KeyFile.parse(canonical(value) + b"\n", name="a.key")
    assert error.value.code in (Code.KEY_MALFORMED, Code.UNSUPPORTED_VERSION)


@pytest.mark.parametrize(
    "data", [b"{", b"{}\n", b"[]\n", b"{" + b" " * MAX_BYTES + b"}\n", b'{"a":' * 5000 + b"\n", b"{\xff}\n"]
)
def test_what_is_no_key_file_is_refused(data: bytes) -> None:
    refused(Code.KEY_MALFORMED, KeyFile.parse, data, name="a.key")


@given(data=st.data())
def test_a_broken_file_is_refused_or_found_out(data: st.DataObject) -> None:
    """Whatever byte is another, nothing but our own errors comes of it, and no key."""
    content = bytearray(SMALL.encode())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealroomError):
        opened(KeyFile.parse(bytes(content), name="a.key"), OFFICER)


SMALL = made(party("officer", OFFICER))


def test_recipients_come_and_go_and_the_last_one_stays() -> None:
    one = made(party("officer", OFFICER))
    slot, _ = custody.wrap(KEY, party("escrow", ESCROW), now=NOW, note="a")
    two = custody.added(one, slot, KEY)
    assert opened(two, ESCROW).by == ("escrow",)
    left = custody.removed(two, "officer", KEY)
    refused(Code.IDENTITY_DOES_NOT_OPEN, opened, left, OFFICER)
    assert opened(left, ESCROW).by == ("escrow",)
    refused(Code.LAST_RECIPIENT, custody.removed, left, "escrow", KEY)
    refused(Code.RECIPIENT_UNKNOWN, custody.removed, two, "boss", KEY)
    refused(Code.RECIPIENT_EXISTS, custody.added, two, slot, KEY)
    refused(Code.RECIPIENT_EXISTS, custody.added, two, replace(slot, name="again"), KEY)


def test_a_weak_passphrase_is_refused() -> None:
    refused(Code.PASSPHRASE_WEAK, custody.wrap, KEY, Party("p", None, "hunter2"), now=NOW, note="a")


def test_a_passphrase_that_would_take_for_ever_is_not_tried(file: KeyFile) -> None:
    """A hostile file asks for 2^40 of scrypt's rounds."""
    import base64
    import re

    binary = pyrage.passphrase.encrypt(b"x", PASSPHRASE)
    costly = re.sub(rb"(-> scrypt \S+ )\d+", rb"\g<1>40", binary)
    text = base64.b64encode(costly).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    armoured = f"-----BEGIN AGE ENCRYPTED FILE-----\n{lines}\n-----END AGE ENCRYPTED FILE-----\n"
    refused(Code.PASSPHRASE_COSTLY, age.opens_by_passphrase, armoured.encode(), PASSPHRASE)


RSA = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDE6S/vmxhwsb1LPlZFXKPYFdiEBEdJ2/gWtSNJcFe4pMGCN6jCYPW3+Bf/GZ6a"
    "z6oV9VqX3S7BV1xXo2i3YpDG6ao+N2rvw9nUWbRMEdXV9fY9nqH7yk7nLCRmbbn2Lm2FfTkqhIcRAHy1c2AP4rZ1QyQ2O7Hf8YyL"
    "Zb9YxBnVvQ=="
)
"""Its library's time tells of the key."""


@pytest.mark.parametrize(
    "text", ["", "age1", "age1zz", "ssh-ed25519 AAAA", "a" * 5000, "agé1", "officer", RSA]
)
def test_what_is_no_recipient_is_refused(text: str) -> None:
    refused(Code.RECIPIENT_MALFORMED, age.recipient, text)


def test_an_identity_in_place_of_a_recipient_is_refused_and_not_shown() -> None:
    error = refused(Code.RECIPIENT_MALFORMED, age.recipient, str(OFFICER))
    assert str(OFFICER) not in f"{error.message} {error.hint}"


def never(_: str) -> str:
    raise AssertionError


@pytest.mark.parametrize(
    "data",
    [b"", b"# nothing\n", b"AGE-SECRET-KEY-1ABC\n", b"\xff\xfe", bytes(70_000), b"-----BEGIN OPENSSH\n"],
)
def test_what_is_no_identity_is_refused(data: bytes) -> None:
    refused(Code.IDENTITY_MALFORMED, age.identities, data, name="officer.txt", ask=never)


def test_identity_files_of_age_are_read(file: KeyFile) -> None:
    lines = f"# created: today\n# public key: …\n\n{STRANGER}\n{OFFICER}\n".replace("…", "x").encode()
    assert opened(file, *age.identities(lines, name="a", ask=never)).by == ("officer",)
    locked = pyrage.passphrase.encrypt(lines, PASSPHRASE)
    assert opened(file, *age.identities(locked, name="a", ask=lambda _: PASSPHRASE)).by == ("officer",)
    refused(Code.WRONG_PASSPHRASE, age.identities, locked, name="a", ask=lambda _: "another passphrase")


def test_an_ssh_key_is_a_recipient(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    one = made(Party("ssh", age.recipient(public.decode() + " me@home")))
    assert one.slots[0].short.startswith("ssh-ed25519 AAAAC3")
    assert opened(one, *age.identities(secret, name="id", ask=never)).by == ("ssh",)


PLUGIN = """\
#!{python}
import base64, sys

def words(): return sys.stdin.readline().split()
def body():
    text = ""
    while True:
        line = sys.stdin.readline().strip()
        text += line
        if len(line) < 64: return text
def say(*what, data=""):
    print("->", *what); print(data, flush=True)

keys, files = [], []
while (command := words()[1:])[0] != "done":
    found = body()
    keys += [found] if command[0] == "wrap-file-key" else []
    files += [(command[1], command[2], found)] if command[0] == "recipient-stanza" else []
body()
if sys.argv[1] == "--age-plugin=recipient-v1":
    for number, key in enumerate(keys):
        say("recipient-stanza", str(number), "test", data=key)
        words(); body()
else:
    for number, kind, key in files:
        if kind == "test":
            say("file-key", number, data=key)
            words(); body()
say("done")
"""
"""A plugin of age that hides nothing: it hands the file's key over as it is."""


def test_a_plugin_of_age_is_a_recipient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "age-plugin-test"
    plugin.write_text(PLUGIN.format(python=sys.executable))
    plugin.chmod(0o755)
    recipient, identity = bech32("age1test", b""), bech32("age-plugin-test-", b"").upper()
    refused(Code.PLUGIN_FAILED, made, Party("token", age.recipient(recipient)))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    one = made(Party("token", age.recipient(recipient)))
    assert one.slots[0].recipient == recipient
    found = age.identities(f"{identity}\n".encode(), name="token.txt", ask=never)
    assert opened(one, *found).by == ("token",)


def bech32(prefix: str, data: bytes) -> str:
    """BIP 173, of no data: the checksum alone."""
    values = [ord(one) >> 5 for one in prefix] + [0] + [ord(one) & 31 for one in prefix] + [0] * 6
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            state ^= term if top >> bit & 1 else 0
    state ^= 1
    digits = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    return prefix + "1" + "".join(digits[state >> 5 * (5 - place) & 31] for place in range(6))
