# SPDX-License-Identifier: Apache-2.0
"""Wraps: the context decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sealroom.errors import SealError, WrapError
from sealroom.keys import KemPrivateKey, Secret
from sealroom.sealed import inspect, make_wrap, open_wrap, reseal
from tests.formats.sealing import Sealed, members, other, write
from tests.formats.worked import CONTEXT, DATA_KEY, GATE_ROOT, OWNER, flip

CONTEXTS = {
    "the same": CONTEXT,
    "chain": replace(CONTEXT, chain_id=1),
    "consortium": replace(CONTEXT, consortium="0x" + "c2" * 20),
    "KMS root": replace(CONTEXT, kms_root=b"\x02" * 32),
    "app": replace(CONTEXT, app="0x" + "aa" * 20),
    "compose hash": replace(CONTEXT, compose_hash=flip(CONTEXT.compose_hash, 31)),
    "epoch": replace(CONTEXT, epoch=4),
    "gate": replace(CONTEXT, gate_public_key=KemPrivateKey.from_seed(b"\x07" * 32).public),
}


@pytest.mark.parametrize("made_for", CONTEXTS)
@pytest.mark.parametrize("opened_in", CONTEXTS)
def test_only_the_diagonal_opens(sealed: Sealed, made_for: str, opened_in: str) -> None:
    """CE-08: a wrap for any other chain, consortium, KMS, app, recipe, epoch or gate stays shut."""
    header = inspect(sealed.path).header
    context = CONTEXTS[made_for]
    moved = replace(header, chain_id=context.chain_id, consortium=context.consortium)
    wrap = make_wrap(DATA_KEY, header=moved, recipient=context)
    gate = KemPrivateKey.from_seed(b"\x07" * 32) if opened_in == "gate" else GATE_ROOT

    if made_for == opened_in:
        assert open_wrap(wrap, gate, context=CONTEXTS[opened_in]).reveal() == DATA_KEY.reveal()
        return
    with pytest.raises(WrapError) as caught:
        open_wrap(wrap, gate, context=CONTEXTS[opened_in])
    assert caught.value.code == "wrap-does-not-open"


CLAIMS = [{"owner": "hospital-B"}, {"dataset": b"\x01" * 32}, {"epoch": 4}, {"gate_root": b"\x01" * 32}]


@pytest.mark.parametrize("change", CLAIMS, ids=["owner", "dataset", "epoch", "gate"])
def test_a_wrap_that_claims_something_else_does_not_open(sealed: Sealed, change: dict[str, object]) -> None:
    """CE-08."""
    wrap = inspect(sealed.path).wrap
    assert open_wrap(wrap, GATE_ROOT, context=CONTEXT)
    with pytest.raises(WrapError) as caught:
        open_wrap(replace(wrap, **change), GATE_ROOT, context=CONTEXT)  # type: ignore[arg-type]
    assert caught.value.code == "wrap-does-not-open"


def test_a_recipe_changed_by_one_byte_does_not_open_the_wrap(sealed: Sealed) -> None:
    """CE-08, AT-23: every bit of the compose hash counts."""
    wrap = inspect(sealed.path).wrap
    assert open_wrap(wrap, GATE_ROOT, context=CONTEXT)
    for position in range(32):
        with pytest.raises(WrapError):
            open_wrap(
                wrap,
                GATE_ROOT,
                context=replace(CONTEXT, compose_hash=flip(CONTEXT.compose_hash, position)),
            )


def test_public_values_alone_open_nothing(sealed: Sealed) -> None:
    """CE-01: a key derived from all that is public does not open the wrap."""
    from sealroom.keys import fingerprint, hkdf_sha256

    wrap = inspect(sealed.path).wrap
    guess = hkdf_sha256(fingerprint(CONTEXT.gate_public_key), salt=CONTEXT.kms_root, info=wrap.info())
    with pytest.raises(WrapError):
        open_wrap(wrap, KemPrivateKey.from_seed(guess), context=CONTEXT)


def test_a_wrap_of_another_owner_in_the_archive_is_refused(sealed: Sealed, tmp_path: Path) -> None:
    contents = members(sealed.path)
    theirs = members(other(sealed, tmp_path, owner="hospital-B").path)["wrap.json"]

    assert inspect(write(tmp_path / "same.tar", contents)).wrap.owner == OWNER
    with pytest.raises(WrapError) as caught:
        inspect(write(tmp_path / "swapped.tar", {**contents, "wrap.json": theirs}))
    assert caught.value.code == "wrap-mismatch"


def test_resealing_changes_the_wrap_and_nothing_else(sealed: Sealed, tmp_path: Path) -> None:
    """CE-20."""
    target = tmp_path / "resealed.tar"
    later = replace(CONTEXT, compose_hash=b"\x09" * 32, epoch=4)

    reseal(sealed.path, dek=DATA_KEY, recipient=later, target=target)

    before, after = members(sealed.path), members(target)
    assert {name for name in before if before[name] != after[name]} == {"wrap.json"}
    wrap = inspect(target).wrap
    assert open_wrap(wrap, GATE_ROOT, context=later).reveal() == DATA_KEY.reveal()
    with pytest.raises(WrapError):
        open_wrap(wrap, GATE_ROOT, context=CONTEXT)
    with sealed.open(target) as opened:
        assert opened.read() == sealed.source.read_bytes()


def test_resealing_needs_the_key_and_the_consortium(sealed: Sealed, tmp_path: Path) -> None:
    target = tmp_path / "resealed.tar"
    with pytest.raises(SealError) as caught:
        reseal(sealed.path, dek=Secret(b"\x01" * 32), recipient=CONTEXT, target=target)
    assert caught.value.code == "wrong-key"
    with pytest.raises(SealError) as caught:
        reseal(sealed.path, dek=DATA_KEY, recipient=CONTEXTS["consortium"], target=target)
    assert caught.value.code == "wrap-mismatch"
    assert not target.exists() and len(list(tmp_path.iterdir())) == 0


# Resealing in place.


def test_resealing_in_place_changes_no_byte_outside_of_the_wrap(sealed: Sealed, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(sealed.path.read_bytes())
    inode, before = path.stat().st_ino, members(path)

    wrap = reseal(path, dek=DATA_KEY, recipient=replace(CONTEXT, compose_hash=b"\x09" * 32))

    after = members(path)
    assert {name for name in before if before[name] != after[name]} == {"wrap.json"}
    assert after["wrap.json"] == wrap.encode() and path.stat().st_ino == inode
    with sealed.open(path) as opened:
        assert opened.read() == sealed.source.read_bytes()


@pytest.mark.parametrize("size", [100, 3000])
def test_a_wrap_in_the_room_of_another_makes_the_file_anew(sealed: Sealed, tmp_path: Path, size: int) -> None:
    """Every wrap of this version takes the same room; what a later one left is replaced too."""
    contents = members(sealed.path)
    path = write(tmp_path / "a.tar", {**contents, "wrap.json": bytes(size)})
    with pytest.raises(SealError):
        inspect(path)

    wrap = reseal(path, dek=DATA_KEY, recipient=CONTEXT)

    assert members(path) == {**contents, "wrap.json": wrap.encode()}
    assert inspect(path).wrap == wrap and [each.name for each in tmp_path.iterdir()] == ["a.tar"]


def test_a_torn_wrap_is_mended_by_resealing(sealed: Sealed, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    data = sealed.path.read_bytes()
    path.write_bytes(data)
    reseal(path, dek=DATA_KEY, recipient=CONTEXT)
    begin = data.index(b"wrap.json".ljust(100, b"\0")) + 512
    torn = data[: begin + 700] + path.read_bytes()[begin + 700 :]
    path.write_bytes(torn)
    with sealed.open(sealed.path), pytest.raises(SealError):
        wrap = inspect(path).wrap
        open_wrap(wrap, GATE_ROOT, context=CONTEXT)

    reseal(path, dek=DATA_KEY, recipient=CONTEXT)

    assert open_wrap(inspect(path).wrap, GATE_ROOT, context=CONTEXT).reveal() == DATA_KEY.reveal()


def test_another_name_of_the_file_is_in_place_too(sealed: Sealed, tmp_path: Path) -> None:
    path, link = tmp_path / "a.tar", tmp_path / "link.tar"
    path.write_bytes(sealed.path.read_bytes())
    link.hardlink_to(path)
    wrap = reseal(path, dek=DATA_KEY, recipient=CONTEXT, target=link)
    assert inspect(path).wrap == wrap == inspect(link).wrap
    with pytest.raises(SealError) as caught:
        reseal(path, dek=DATA_KEY, recipient=CONTEXT, overwrite=False)
    assert caught.value.code == "output-exists" and inspect(path).wrap == wrap


@pytest.mark.parametrize("keep", [100, 3000, -1024, -1])
def test_a_cut_archive_is_not_resealed(sealed: Sealed, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(sealed.path.read_bytes()[:keep])
    before = path.read_bytes()
    with pytest.raises(SealError):
        reseal(path, dek=DATA_KEY, recipient=CONTEXT)
    assert path.read_bytes() == before
