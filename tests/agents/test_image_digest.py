# SPDX-License-Identifier: Apache-2.0
"""`sealroom image`: an image on disk is what its digest names, a release says which, and a study takes it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.releases import archived, minted_image, minted_release

from sealroom.codes import Code
from sealroom.encoding import canonical
from sealroom.recipe import render
from sealroom_agents import released
from sealroom_agents.cli.image import image
from sealroom_agents.errors import ToolError
from sealroom_agents.oci_image import MANIFEST, MAX_DOCUMENT_BYTES, MAX_LAYERS, MAX_MEMBERS, read_image
from sealroom_agents.released import LOCAL_IMAGE, decode, is_local, require_for_chain, require_published
from sealroom_agents.studies.templates import TEMPLATES, write_study


@pytest.fixture
def unpublished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this version's release is read from, and none is."""
    path = tmp_path / "published" / "release.json"
    path.parent.mkdir()
    monkeypatch.setattr(released, "RELEASE_FILE", path)
    return path


def called(*words: str | Path) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `sealroom image …`."""
    done = CliRunner().invoke(image, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_folder_and_its_tar_have_the_digest_of_the_manifest(tmp_path: Path) -> None:
    digest = minted_image(tmp_path / "layout")
    found = read_image(tmp_path / "layout")
    assert found.digest == digest
    assert (found.platform, found.user, found.layers) == ("linux/amd64", "10001:10001", 2)
    assert found.size == sum(path.stat().st_size for path in (tmp_path / "layout/blobs/sha256").iterdir())
    assert read_image(archived(tmp_path / "layout", tmp_path / "layout.tar")) == found


def test_a_tag_chooses_one_of_several(tmp_path: Path) -> None:
    first = minted_image(tmp_path / "both", tag="first")
    second = minted_image(tmp_path / "both", layers=(b"other",), tag="second")
    assert first != second
    assert read_image(tmp_path / "both", tag="second").digest == second
    for tag in (None, "third"):
        with pytest.raises(ToolError, match="images") as refused:
            read_image(tmp_path / "both", tag=tag)
        assert refused.value.code is Code.IMAGE_MALFORMED


def blob(folder: Path, digest: str) -> Path:
    return folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


def index(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "index.json").read_bytes())


def with_index(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, str], None]:
    """A change to the first descriptor of the index."""

    def apply(folder: Path, _: str) -> None:
        content = index(folder)
        change(content["manifests"][0])
        (folder / "index.json").write_text(json.dumps(content))

    return apply


def last_layer(folder: Path, digest: str) -> Path:
    return blob(folder, json.loads(blob(folder, digest).read_bytes())["layers"][-1]["digest"])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def with_manifest(**changed: Any) -> Callable[[Path, str], None]:
    """Another manifest, named rightly."""

    def apply(folder: Path, digest: str) -> None:
        content = json.loads(blob(folder, digest).read_bytes()) | changed
        data = json.dumps(content).encode()
        named = hashlib.sha256(data).hexdigest()
        blob(folder, named).write_bytes(data)
        with_index(lambda one: one.update(digest=f"sha256:{named}", size=len(data)))(folder, digest)

    return apply


BROKEN: dict[str, tuple[Callable[[Path, str], None], str]] = {
    "no-layout": (lambda folder, _: (folder / "oci-layout").unlink(), "oci-layout"),
    "other-layout": (
        lambda folder, _: (folder / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}') and None,
        "another version",
    ),
    "no-index": (lambda folder, _: (folder / "index.json").unlink(), "index.json"),
    "index-no-json": (lambda folder, _: (folder / "index.json").write_text("[") and None, "its index"),
    "index-empty": (
        lambda folder, _: (folder / "index.json").write_text('{"manifests": []}') and None,
        "0 images",
    ),
    "index-too-large": (
        lambda folder, _: (
            (folder / "index.json").write_text(json.dumps({"manifests": ["x" * MAX_DOCUMENT_BYTES]})) and None
        ),
        "its index",
    ),
    "several-platforms": (
        with_index(lambda one: one.update(mediaType="application/vnd.oci.image.index.v1+json")),
        "several platforms",
    ),
    "sha512": (with_index(lambda one: one.update(digest="sha512:" + "0" * 128)), "SHA-256"),
    "path": (with_index(lambda one: one.update(digest="sha256:../../../../etc/passwd")), "SHA-256"),
    "size-less": (with_index(lambda one: one.update(size=one["size"] - 1)), "other bytes"),
    "size-more": (with_index(lambda one: one.update(size=one["size"] + 1)), "other bytes"),
    "size-huge": (with_index(lambda one: one.update(size=2**40)), "size"),
    "size-true": (with_index(lambda one: one.update(size=True)), "size"),
    "manifest-large": (with_index(lambda one: one.update(size=MAX_DOCUMENT_BYTES + 1)), "larger"),
    "no-manifest": (lambda folder, digest: blob(folder, digest).unlink(), "not there"),
    "manifest-changed": (lambda folder, digest: flip(blob(folder, digest)), "other bytes"),
    "no-layer": (lambda folder, digest: last_layer(folder, digest).unlink(), "layer 2 is not there"),
    "layer-changed": (lambda folder, digest: flip(last_layer(folder, digest)), "layer 2 has other bytes"),
    "no-layers": (with_manifest(layers=[]), "list of 1 to"),
    "many-layers": (with_manifest(layers=[{}] * (MAX_LAYERS + 1)), "list of 1 to"),
    "config-text": (with_manifest(config="sha256"), "no descriptor"),
    # AT-24: the same bytes, served as an index, are another image.
    "an-index-too": (
        with_manifest(manifests=[{"mediaType": MANIFEST, "digest": "sha256:" + "66" * 32, "size": 500}]),
        "one image and of nothing else",
    ),
    "said-to-be-an-index": (
        with_manifest(mediaType="application/vnd.oci.image.index.v1+json"),
        "one image and of nothing else",
    ),
    "docker-1": (with_manifest(schemaVersion=1, fsLayers=[]), "one image and of nothing else"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("tar", [False, True], ids=["folder", "tar"])
def test_an_image_with_anything_amiss_has_no_digest(tmp_path: Path, name: str, tar: bool) -> None:
    """AT-24: one digest is one image, every byte of it."""
    folder = tmp_path / "layout"
    change, says = BROKEN[name]
    change(folder, minted_image(folder))
    path = archived(folder, tmp_path / "layout.tar") if tar else folder
    with pytest.raises(ToolError) as refused:
        read_image(path)
    assert refused.value.code is Code.IMAGE_MALFORMED and says in refused.value.message


def test_a_file_that_is_no_tar_or_has_a_member_twice_is_refused(tmp_path: Path) -> None:
    minted_image(tmp_path / "layout")
    (tmp_path / "text").write_text("no tar")
    twice = archived(tmp_path / "layout", tmp_path / "twice.tar")
    with tarfile.open(twice, "a") as tar:
        tar.add(tmp_path / "layout" / "index.json", "./index.json")
    for path in (tmp_path / "text", twice):
        with pytest.raises(ToolError) as refused:
            read_image(path)
        assert refused.value.code is Code.IMAGE_MALFORMED


def header(kind: bytes, size: int, *, content: bytes = b"") -> bytes:
    """A tar's header of this type, that says this size, and what stands behind it."""
    block = bytearray(tarfile.TarInfo("a").tobuf(tarfile.USTAR_FORMAT))
    block[156:157] = kind
    block[124:136] = b"%011o\0" % size if size >= 0 else b"\xff" + (256**11 + size).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + content.ljust(-(-len(content) // 512) * 512, b"\0")


def extended(record: bytes) -> bytes:
    """A header that changes the next one."""
    return header(tarfile.XHDTYPE, len(record), content=record)


TARS = {
    "back to itself": header(tarfile.DIRTYPE, 0) + header(b"Z", -512),
    "back to a file": header(tarfile.REGTYPE, -512),
    "a long name of negative size": header(tarfile.GNUTYPE_LONGNAME, -512),
    "times of negative size": header(tarfile.XHDTYPE, -512),
    "times of 8 GiB": header(tarfile.XHDTYPE, 8**11 - 1),
    "a size that is changed to a negative one": extended(b"14 size=-1536\n") + header(b"0", 0),
    "sparse": header(tarfile.GNUTYPE_SPARSE, 512, content=b"x"),
    "sparse by what stands before it": extended(b"22 GNU.sparse.map=0,1\n") + header(b"0", 1, content=b"x"),
    "sparse by no number": extended(b"22 GNU.sparse.map=a,b\n") + header(b"0", 1, content=b"x"),
    "nested": extended(b"11 mtime=1\n") * 4 + header(b"0", 0),
    "a device": header(tarfile.CHRTYPE, 0),
    "folders without end": header(tarfile.DIRTYPE, 0) * (MAX_MEMBERS + 1),
}


@pytest.mark.parametrize("name", TARS)
def test_a_tar_that_leads_a_reader_astray_is_refused(tmp_path: Path, name: str) -> None:
    """AR-02, AR-03: no header leads back, into memory, or to another error than ours."""
    minted_image(tmp_path / "layout")
    whole = archived(tmp_path / "layout", tmp_path / "layout.tar").read_bytes()
    path = tmp_path / "astray.tar"
    path.write_bytes(TARS[name] + whole)
    with pytest.raises(ToolError) as refused:
        read_image(path)
    assert refused.value.code is Code.IMAGE_MALFORMED


@pytest.mark.usefixtures("unpublished")
def test_the_command_holds_an_image_against_recipe_and_release(tmp_path: Path) -> None:
    layout, recipe, release = tmp_path / "layout", tmp_path / "recipe.json", tmp_path / "release.json"
    digest = minted_image(layout)
    status, out, _ = called("digest", layout)
    assert status == 0 and digest in out and "no image of this version was published" in out

    mine = minted_release(enclave=digest.removeprefix("sha256:"))
    release.write_bytes(mine.encode())
    write_study(tmp_path / "study", "cohort", mine)
    recipe.write_bytes(render(tmp_path / "study"))
    status, out, _ = called("digest", layout, "--recipe", recipe, "--release", release, "--json")
    told = json.loads(out)
    assert status == 0 and told["ok"] is True and told["code"] is None
    assert (told["digest"], told["recipe"]) == (digest, True)
    assert told["release"] == {"version": "9.9.9", "image": "enclave"}

    # AT-24: the recipe has the gate's image where the enclave's belongs.
    release.write_bytes(minted_release(digest=digest.removeprefix("sha256:")).encode())
    status, out, _ = called("digest", layout, "--recipe", recipe, "--release", release)
    assert status == 1 and "agents, which is no enclave" in out
    release.write_bytes(mine.encode())

    other = tmp_path / "other"
    minted_image(other, layers=(b"changed",))
    for words in (("--recipe", recipe), ("--release", release)):
        status, out, err = called("digest", other, *words)
        assert status == 1 and Code.IMAGE_DIFFERS.sentence.rstrip(".") in err
        status, out, _ = called("digest", other, *words, "--json")
        assert status == 1 and json.loads(out)["code"] == Code.IMAGE_DIFFERS


def test_a_published_release_is_told_and_another_image_is_not_an_error(
    tmp_path: Path, unpublished: Path
) -> None:
    with pytest.raises(ToolError) as refused:
        called("release")
    assert refused.value.code is Code.IMAGE_UNRELEASED and refused.value.hint is not None
    unpublished.write_bytes(minted_release().encode())
    assert f"ghcr.io/sealroom/enclave@sha256:{'2b' * 32}" in called("release")[1]
    assert decode(called("release", "--json")[1].strip().encode()) == minted_release()
    minted_image(tmp_path / "layout")
    status, out, _ = called("digest", tmp_path / "layout")
    assert status == 0 and "9.9.9 names other images" in out


def put(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        for name in path[:-1]:
            content = content[name]
        if value is None:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return apply


MALFORMED = {
    "version": put("version", value=2),
    "no-commit": put("commit", value=None),
    "commit": put("commit", value="main"),
    "epoch": put("epoch", value=0),
    "base-by-tag": put("base", value="python:3.11"),
    "unknown": put("note", value="x"),
    "no-images": put("images", value={}),
    "an-image-more": put("images", "other", value={}),
    "an-image-less": put("images", "enclave", value=None),
    "digest": put("images", "enclave", "digest", value="sha256:12"),
    "digest-of-zeros": put("images", "enclave", "digest", value=f"sha256:{'0' * 64}"),
    "tagged": put("images", "enclave", "name", value="ghcr.io/sealroom/enclave:1.0"),
    "local": put("images", "agents", "name", value="local.invalid/sealroom/agents"),
    "no-sbom": put("images", "agents", "sbom", value=None),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_file_of_a_release_that_is_otherwise_is_refused(name: str) -> None:
    content = json.loads(minted_release().encode())
    MALFORMED[name](content)
    with pytest.raises(ToolError) as refused:
        decode(canonical(content))
    wanted = Code.UNSUPPORTED_VERSION if name == "version" else Code.RELEASE_MALFORMED
    assert refused.value.code is wanted


def test_a_file_of_a_release_has_one_form(tmp_path: Path) -> None:
    data = minted_release().encode()
    assert decode(data).encode() == data
    for other in (data + b"\n", b"", b"{}", json.dumps(json.loads(data), indent=1).encode(), b"x" * 70_000):
        with pytest.raises(ToolError) as refused:
            decode(other)
        assert refused.value.code is Code.RELEASE_MALFORMED
    (tmp_path / "release.json").write_bytes(data)
    assert released.load(tmp_path / "release.json") == minted_release()


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_takes_the_enclave_of_the_release(
    tmp_path: Path, template: str, unpublished: Path
) -> None:
    """Where none was published, it has a name that no registry can have, and says so."""
    write_study(tmp_path / "first", template)
    text = (tmp_path / "first" / "study.yaml").read_text()
    assert f"\nimage: {LOCAL_IMAGE}\n" in text and "This one is none" in text
    assert "IMAGE" not in text
    render(tmp_path / "first")

    unpublished.write_bytes(minted_release().encode())
    write_study(tmp_path / "second", template)
    text = (tmp_path / "second" / "study.yaml").read_text()
    assert f"\nimage: ghcr.io/sealroom/enclave@sha256:{'2b' * 32}\n" in text
    assert "of release 9.9.9." in text and LOCAL_IMAGE not in text


def test_an_image_that_stands_for_local_rooms_is_taken_on_local_chains_alone() -> None:
    real = minted_release().images["enclave"].reference
    for chain in (31337, 1337, 1, 11155111, 424242):
        require_for_chain(real, chain)
        for local in (LOCAL_IMAGE, f"ghcr.io/sealroom/enclave@sha256:{'0' * 64}"):
            assert is_local(local)
            if chain in (31337, 1337):
                require_for_chain(local, chain)
                continue
            with pytest.raises(ToolError) as refused:
                require_for_chain(local, chain)
            assert refused.value.code is Code.IMAGE_UNRELEASED


def test_this_version_has_no_release_yet_or_a_whole_one() -> None:
    """Whoever publishes images puts the file there; until then each use is refused."""
    if released.RELEASE_FILE.exists():
        assert require_published().images.keys() == {"agents", "enclave"}
    else:
        with pytest.raises(ToolError):
            require_published()
