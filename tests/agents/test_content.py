# SPDX-License-Identifier: Apache-2.0
"""Envelopes and recipes are kept by their digest: once, confirmed, and no other bytes than their name."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.s3_server import S3Server

from sealroom_agents.errors import ConfigurationError, StoreError
from sealroom_agents.store import Holder, Store
from sealroom_agents.store.content import MAX_BYTES, Bucket, Content, ContentDamaged, Folder, content_at

HOLDER = Holder(id="one", place="here", name="r")


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server.start() as running, running.named():
        yield running


@pytest.fixture(params=["folder", "memory", "s3"])
def content(request: pytest.FixtureRequest, tmp_path: Path) -> Content:
    match request.param:
        case "folder":
            return content_at(str(tmp_path / "content"))
        case "memory":
            return content_at(f"memory://{secrets.token_hex(8)}")
    return content_at(request.getfixturevalue("server").place())


def damage(content: Content, digest: str, data: bytes) -> None:
    name = digest[2:]
    if isinstance(content, Folder):
        content._path(name).write_bytes(data)
    else:
        assert isinstance(content, Bucket)
        content._store.pipe_file(content._path(name), data)


def test_bytes_are_kept_once_under_their_digest_until_they_are_discarded(content: Content) -> None:
    assert list(content.digests()) == []
    digest = content.put(b"envelope")
    assert digest == "0x" + hashlib.sha256(b"envelope").hexdigest()
    assert content.put(b"envelope") == digest
    other = content.put(b"")
    assert list(content.digests()) == sorted([digest, other])
    assert (content.get(digest), content.get(other), content.get("0x" + "00" * 32)) == (
        b"envelope",
        b"",
        None,
    )
    assert content.get("0x../../etc/passwd") is None
    content.discard(other)
    content.discard(other)
    assert list(content.digests()) == [digest]
    with pytest.raises(StoreError, match="not among"):
        content.need(other)
    with pytest.raises(StoreError, match="are not kept"):
        content.put(bytes(MAX_BYTES + 1))


def test_bytes_that_somebody_changed_are_an_error_and_put_right_by_the_true_ones(content: Content) -> None:
    """OU-03's counterpart on the operator's disk: no reader is handed other bytes than it asked for."""
    digest = content.put(b"envelope")
    for other in (b"envelop", b"envelope!", b""):
        damage(content, digest, other)
        with pytest.raises(StoreError) as caught:
            content.get(digest)
        assert caught.value.code == "content-store"
    assert content.put(b"envelope") == digest
    assert content.get(digest) == b"envelope"


def test_a_file_that_the_disk_does_not_give_is_damaged_and_other_trouble_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an open file whose sector is bad, the kernel says EIO; EMFILE and EACCES are of no file."""
    content = content_at(str(tmp_path / "c"))
    digest = content.put(b"envelope")
    assert isinstance(content, Folder)
    path = content._path(digest[2:])
    opened = Path.open

    def disk(code: int) -> None:
        def stand_in(self: Path, *how: str) -> object:
            if self == path:
                raise OSError(code, os.strerror(code))
            return opened(self, *how)

        monkeypatch.setattr(Path, "open", stand_in)

    for code in (errno.EIO, errno.EUCLEAN):
        disk(code)
        with pytest.raises(ContentDamaged, match="cannot be read"):
            content.get(digest)
        assert content.put(b"envelope") == digest  # a new file takes its place
    for code in (errno.EMFILE, errno.EACCES):
        disk(code)
        with pytest.raises(StoreError) as caught:
            content.get(digest)
        assert not isinstance(caught.value, ContentDamaged)
    monkeypatch.undo()
    path.unlink()
    path.mkdir()
    with pytest.raises(ContentDamaged):
        content.get(digest)


def test_a_folder_names_files_as_sha256sum_does_and_shows_them_to_nobody_else(tmp_path: Path) -> None:
    name = content_at(str(tmp_path / "c")).put(b"x")[2:]
    path = tmp_path / "c" / "sha256" / name[:2] / name
    assert path.read_bytes() == b"x"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_place_that_is_none_is_refused_before_anything_is_kept(database: str) -> None:
    with pytest.raises(ConfigurationError, match="are not kept at ftp"):
        content_at("ftp://host/x")
    store = Store(database)
    if database.startswith("postgresql"):
        with pytest.raises(StoreError, match="nothing says where"):
            store.add_recipe("0x" + "5e" * 32, b"{}")
    else:
        assert store.add_recipe("0x" + "5e" * 32, b"{}")
    store.close()


@pytest.fixture
def full() -> Iterator[None]:
    """No file of this process can grow: what a full disk does to a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_an_error_that_may_pass_and_leaves_nothing_half_written(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    content = content_at(str(tmp_path / "content"))
    content.put(b"before")
    request.getfixturevalue("full")
    with pytest.raises(StoreError) as caught:
        content.put(b"after")
    assert (caught.value.code, caught.value.code.transient) == ("content-store", True)
    assert len(list(content.digests())) == 1
    assert len([path for path in (tmp_path / "content").rglob("*") if path.is_file()]) == 1


def test_an_envelope_is_handed_out_by_its_digest_once_it_is_published_and_not_before(
    database: str, tmp_path: Path
) -> None:
    """CH-28: the draft lies in the same place, and no reader gets it, who knew its digest or not."""
    store = Store(database, str(tmp_path / "content"))
    recipe = store.content.put(b"{}")
    store.add_recipe(recipe, b"{}")
    for number in range(2):
        store.submit(f"0x{number:064x}", compose_hash=recipe, consortium="0x", missing=[], waiting=False)
    first, second = store.claim(HOLDER), store.claim(HOLDER)
    assert first is not None and second is not None
    for run in (first, second):
        store.emitted(run, "draft")  # the same bytes: no run takes the other's away
    draft = store.content.put(b"draft")
    assert store.published(draft) is None
    store.anchored(first, "envelope", message="x")
    digest = store.run(first.id).envelope
    assert digest is not None
    assert (store.published(digest), store.published(draft), store.published(recipe)) == (
        b"envelope",
        None,
        None,
    )
    assert store.draft(second.id) == "draft"
    store.anchored(second, "another", message="x")
    assert set(store.content.digests()) == {recipe, digest, store.run(second.id).envelope}
    store.close()
