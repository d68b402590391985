# SPDX-License-Identifier: Apache-2.0
"""Wraps: the context decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sealroom.errors import SealError, WrapError
from sealroom.keys import KemPrivateKey, Secret
from sealroom.model import dataset_id
from sealroom.sealed import Wrap, inspect, make_wrap, open_wrap, reseal, seal, unseal
from sealroom.sealed.archive import padded
from sealroom.sealed.wrap import UNWRAPPED
from tests.formats.sealing import Sealed, members, other, write
from tests.formats.worked import CONTEXT, DATA_KEY, GATE_ROOT, NAME, OWNER, flip

CONTEXTS = {
    "the same": CONTEXT,
    "chain": replace(CONTEXT, chain_id=1),
    "consortium": replace(CONTEXT, consortium="0x" + "c2" * 20),
    "KMS root": replace(CONTEXT, kms_root=b"\x02" * 32),
    "app": replace(CONTEXT, app="0x" + "aa" * 20),
    "compose hash": replace(CONTEXT, compose_hash=flip(CONTEXT.compose_hash, 31)),
    "gate": replace(CONTEXT, gate_public_key=KemPrivateKey.from_seed(b"\x07" * 32).public),
}


@pytest.mark.parametrize("made_for", CONTEXTS)
@pytest.mark.parametrize("opened_in", CONTEXTS)
def test_only_the_diagonal_opens(sealed: Sealed, made_for: str, opened_in: str) -> None:
    """CE-08: a wrap for any other chain, consortium, KMS, app, recipe or gate stays shut."""
    wrap = make_wrap(DATA_KEY, header=inspect(sealed.path).header, recipient=CONTEXTS[made_for])
    gate = KemPrivateKey.from_seed(b"\x07" * 32) if opened_in == "gate" else GATE_ROOT

    if made_for == opened_in:
        assert open_wrap(wrap, gate, context=CONTEXTS[opened_in]).reveal() == DATA_KEY.reveal()
        return
    with pytest.raises(WrapError) as caught:
        open_wrap(wrap, gate, context=CONTEXTS[opened_in])
    assert caught.value.code == "wrap-does-not-open"


CLAIMS = [
    {"chain_id": 1},
    {"consortium": "0x" + "c2" * 20},
    {"dataset": b"\x01" * 32},
    {"header": b"\x01" * 32},
    {"gate_root": b"\x01" * 32},
]


@pytest.mark.parametrize("change", CLAIMS, ids=["chain", "consortium", "dataset", "header", "gate"])
def test_a_wrap_that_claims_something_else_does_not_open(sealed: Sealed, change: dict[str, Any]) -> None:
    """CE-08."""
    wrap = inspect(sealed.path).needed_wrap()
    assert open_wrap(wrap, GATE_ROOT, context=CONTEXT)
    with pytest.raises(WrapError) as caught:
        open_wrap(replace(wrap, **change), GATE_ROOT, context=CONTEXT)
    assert caught.value.code == "wrap-does-not-open"


def test_a_recipe_changed_by_one_byte_does_not_open_the_wrap(sealed: Sealed) -> None:
    """CE-08, AT-23: every bit of the compose hash counts."""
    wrap = inspect(sealed.path).needed_wrap()
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

    wrap = inspect(sealed.path).needed_wrap()
    guess = hkdf_sha256(fingerprint(CONTEXT.gate_public_key), salt=CONTEXT.kms_root, info=wrap.info())
    with pytest.raises(WrapError):
        open_wrap(wrap, KemPrivateKey.from_seed(guess), context=CONTEXT)


@pytest.mark.parametrize(
    "change",
    [{"owner": "0x" + "b2" * 20}, {"name": "cohort-B"}, {"dataset_version": 2}, {}],
    ids=["owner", "name", "version", "salt"],
)
def test_a_wrap_of_another_file_in_the_archive_is_refused(
    sealed: Sealed, tmp_path: Path, change: dict[str, object]
) -> None:
    """CE-08: of another owner's dataset, another dataset, another version, or the same sealed anew."""
    contents = members(sealed.path)
    theirs = members(other(sealed, tmp_path, **change).path)["wrap.json"]

    wrap = inspect(write(tmp_path / "same.tar", contents)).needed_wrap()
    assert wrap.dataset == dataset_id(OWNER, NAME)
    with pytest.raises(WrapError) as caught:
        inspect(write(tmp_path / "swapped.tar", {**contents, "wrap.json": theirs}))
    assert caught.value.code == "wrap-mismatch"


@pytest.mark.parametrize("change", ["recipe", "consortium", "app", "KMS root"])
def test_resealing_changes_the_wrap_and_nothing_else(sealed: Sealed, tmp_path: Path, change: str) -> None:
    """CE-20: a new recipe, consortium, app or gate takes a new wrap; all other members stay bit for bit."""
    target = tmp_path / "resealed.tar"
    later = {
        "recipe": replace(CONTEXT, compose_hash=b"\x09" * 32),
        "consortium": replace(CONTEXT, chain_id=1, consortium="0x" + "c2" * 20),
        "app": CONTEXTS["app"],
        "KMS root": CONTEXTS["KMS root"],
    }[change]

    reseal(sealed.path, dek=DATA_KEY, recipient=later, target=target)

    before, after = members(sealed.path), members(target)
    assert list(before) == list(after)
    assert {name for name in before if before[name] != after[name]} == {"wrap.json"}
    found = inspect(target)
    wrap = found.needed_wrap()
    assert found.header_digest == sealed.summary.header_digest
    assert found.index_digest == sealed.summary.index_digest
    assert open_wrap(wrap, GATE_ROOT, context=later).reveal() == DATA_KEY.reveal()
    with pytest.raises(WrapError):
        open_wrap(wrap, GATE_ROOT, context=CONTEXT)
    with sealed.open(target) as opened:
        assert opened.read() == sealed.source.read_bytes()


def test_resealing_needs_the_key(sealed: Sealed, tmp_path: Path) -> None:
    target = tmp_path / "resealed.tar"
    with pytest.raises(SealError) as caught:
        reseal(sealed.path, dek=Secret(b"\x01" * 32), recipient=CONTEXT, target=target)
    assert caught.value.code == "wrong-key"
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
        wrap = inspect(path).needed_wrap()
        open_wrap(wrap, GATE_ROOT, context=CONTEXT)

    reseal(path, dek=DATA_KEY, recipient=CONTEXT)

    assert open_wrap(inspect(path).needed_wrap(), GATE_ROOT, context=CONTEXT).reveal() == DATA_KEY.reveal()


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


# Sealed before there is a recipient.


@pytest.fixture
def unwrapped(sealed: Sealed, tmp_path: Path) -> Sealed:
    return other(sealed, tmp_path, recipient=None, dek=DATA_KEY)


def test_a_file_that_is_not_wrapped_is_read_and_given_back_to_its_owner(
    unwrapped: Sealed, tmp_path: Path
) -> None:
    info, plain = inspect(unwrapped.path), tmp_path / "plain"
    assert info.wrap is None and info.wrap_bytes == UNWRAPPED
    with unwrapped.open() as opened:
        assert opened.read() == unwrapped.source.read_bytes()
    unseal(unwrapped.path, plain, dek=DATA_KEY)
    assert plain.read_bytes() == unwrapped.source.read_bytes()


def test_whoever_needs_the_wrap_refuses_a_file_without_one(unwrapped: Sealed) -> None:
    for act in (inspect(unwrapped.path).needed_wrap, lambda: Wrap.parse(inspect(unwrapped.path).wrap_bytes)):
        with pytest.raises(WrapError) as caught:
            act()
        assert caught.value.code == "not-wrapped" and "sealroom reseal" in str(caught.value.hint)


def test_the_first_wrap_is_put_in_place(unwrapped: Sealed) -> None:
    """A file that is sealed before any consortium exists takes one wrap, and keeps all else."""
    path, before = unwrapped.path, members(unwrapped.path)
    inode, size = path.stat().st_ino, path.stat().st_size

    wrap = reseal(path, dek=DATA_KEY, recipient=CONTEXT)

    after = members(path)
    assert {name for name in before if before[name] != after[name]} == {"wrap.json"}
    assert (path.stat().st_ino, path.stat().st_size) == (inode, size)
    assert inspect(path).wrap == wrap
    assert open_wrap(wrap, GATE_ROOT, context=CONTEXT).reveal() == DATA_KEY.reveal()


@pytest.mark.parametrize("chain_id", [1, 2**53 - 1])
def test_any_wrap_takes_the_room_of_a_file_that_is_not_wrapped(sealed: Sealed, chain_id: int) -> None:
    header = inspect(sealed.path).header
    wrap = make_wrap(DATA_KEY, header=header, recipient=replace(CONTEXT, chain_id=chain_id))
    assert padded(len(wrap.encode())) == padded(len(UNWRAPPED)) == len(UNWRAPPED)


def test_one_file_for_two_consortia_and_two_recipes(sealed: Sealed, tmp_path: Path) -> None:
    """What is registered once serves everywhere: only the wraps differ."""
    path = tmp_path / "once.tar"
    summary = seal(
        sealed.source, path, recipient=None, owner=OWNER, name=NAME, dek=DATA_KEY, dataset_version=7
    )
    places = [
        CONTEXT,
        replace(CONTEXT, compose_hash=b"\x09" * 32),
        replace(CONTEXT, chain_id=1, consortium="0x" + "c2" * 20, app="0x" + "aa" * 20),
    ]
    without_wrap = {name: content for name, content in members(path).items() if name != "wrap.json"}
    for number, place in enumerate(places):
        target = tmp_path / f"{number}.tar"
        wrap = reseal(path, dek=DATA_KEY, recipient=place, target=target)
        contents = members(target)
        assert contents.pop("wrap.json") == wrap.encode() and contents == without_wrap
        assert open_wrap(wrap, GATE_ROOT, context=place).reveal() == DATA_KEY.reveal()
        for elsewhere in places[:number] + places[number + 1 :]:
            with pytest.raises(WrapError):
                open_wrap(wrap, GATE_ROOT, context=elsewhere)
        with Sealed(sealed.source, target, summary).open() as opened:
            assert opened.read() == sealed.source.read_bytes()
            assert opened.info.header.dataset_version == 7
