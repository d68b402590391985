# SPDX-License-Identifier: Apache-2.0
"""An image on disk, in the OCI image layout: a folder, or a tar of one. Every byte that it names is hashed.

Source: OCI image specification 1.1, image layout, manifest and configuration. An image's digest is the
SHA-256 of its manifest, which names its configuration and layers by theirs. What has several platforms is
refused: a recipe names one image, and so does a release.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, NoReturn, Self

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError
from sealroom_agents.errors import ToolError
from sealroom_agents.released import DIGEST

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
"""Of index, manifest and configuration, each."""
MAX_LAYERS = 128
MAX_LAYER_BYTES = 64 * 1024**3
MAX_MEMBERS = 4096
"""Files, folders and links in an archive."""
MAX_EXTENDED_BYTES = 64 * 1024
"""Of what stands before a member in an archive: a long name, times."""
MAX_EXTENDED = 3
"""Of these before one member: the reader goes one call deeper for each."""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_OF_A_MANIFEST = {"schemaVersion", "mediaType", "config", "layers", "annotations"}
_EXTENDED = {tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
_TYPES = _EXTENDED | {
    tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
}  # fmt: skip
_REF = "org.opencontainers.image.ref.name"
_CHUNK = 1024 * 1024
_FETCH = "name a folder that `make images` or `skopeo copy docker://IMAGE oci:FOLDER` wrote"


@dataclass(frozen=True)
class Image:
    """One image, whose bytes are all there."""

    digest: str
    """Of its manifest: `sha256:` and 64 hex digits, as recipes name it."""
    config: str
    """Digest of its configuration, which `docker image ls` calls the image's id."""
    platform: str
    """`linux/amd64`."""
    created: str
    """As the builder wrote it."""
    user: str
    """Who its processes are, if nothing says otherwise; empty is root."""
    layers: int
    size: int
    """Bytes of manifest, configuration and layers."""


def read_image(path: Path, *, tag: str | None = None) -> Image:
    """The image at `path`; `tag` chooses one of several. Raises `ToolError` `image-malformed`, `OSError`."""
    with _opened(path) as layout:
        marker = layout.document("oci-layout", "the layout's version")
        if marker.get("imageLayoutVersion") != "1.0.0":
            _malformed(f"{path} is of another version of the OCI layout than 1.0.0")
        found = _chosen(layout.document("index.json", "its index"), tag)
        digest, size = _descriptor(found, "the image")
        if found.get("mediaType") != MANIFEST:
            _malformed(
                "it has several platforms, or a statement beside the image",
                "build for one platform: docker buildx build --provenance=false --sbom=false",
            )
        manifest = layout.named(digest, size, "the manifest")
        _require_one_kind(manifest)
        config, config_size = _descriptor(manifest.get("config"), "the configuration")
        settings = layout.named(config, config_size, "the configuration")
        layers = manifest.get("layers")
        if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_LAYERS:
            _malformed(f"the manifest has no list of 1 to {MAX_LAYERS} layers")
        named = [_descriptor(each, f"layer {n}") for n, each in enumerate(layers, 1)]
        for n, (layer, layer_size) in enumerate(named, 1):
            layout.hashed(layer, layer_size, f"layer {n}")
    inner = settings.get("config")
    return Image(
        digest=digest,
        config=config,
        platform=f"{_text(settings, 'os')}/{_text(settings, 'architecture')}",
        created=_text(settings, "created"),
        user=_text(inner, "User") if isinstance(inner, dict) else "",
        layers=len(named),
        size=size + config_size + sum(each for _, each in named),
    )


class _Layout:
    """A folder in the layout."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, name: str) -> IO[bytes] | None:
        """A file of the layout; `None` if it is not there."""
        file = self._path / name
        return file.open("rb") if file.is_file() else None

    def document(self, name: str, what: str) -> dict[str, Any]:
        """A JSON object."""
        stream = self.open(name)
        if stream is None:
            _malformed(f"{what} is not there: {name}", _FETCH)
        with stream:
            return _object(stream.read(MAX_DOCUMENT_BYTES + 1), what)

    def named(self, digest: str, size: int, what: str) -> dict[str, Any]:
        """A JSON object that another one names by digest and size."""
        if size > MAX_DOCUMENT_BYTES:
            _malformed(f"{what} is larger than any")
        return _object(self.hashed(digest, size, what, keep=True), what)

    def hashed(self, digest: str, size: int, what: str, *, keep: bool = False) -> bytes:
        """Hash what another object names by digest and size; its bytes, if they are to be kept."""
        algorithm, _, word = digest.partition(":")
        stream = self.open(f"blobs/{algorithm}/{word}")
        if stream is None:
            _malformed(f"{what} is not there: {digest}")
        with stream:
            seen, count, kept = hashlib.sha256(), 0, bytearray()
            while count <= size and (chunk := stream.read(_CHUNK)):
                seen.update(chunk)
                count += len(chunk)
                if keep:
                    kept += chunk
        if count != size or seen.hexdigest() != word:
            _malformed(f"{what} has other bytes than those of {digest}")
        return bytes(kept)


class _Archive(_Layout):
    """A tar of one, without compression."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        super().__init__(path)
        self._tar = tar
        self._members: dict[str, tarfile.TarInfo] = {}
        for count, member in enumerate(tar, 1):
            # What stands before a member can change its size, and make a sparse one of it.
            if member.size < 0 or member.issparse():
                _malformed(f"{path} has a member of a size that none has, or a sparse one")
            name = member.name.removeprefix("./")
            if name in self._members or count > MAX_MEMBERS:
                _malformed(f"{path} has a file twice, or more than {MAX_MEMBERS} members")
            if member.isfile():
                self._members[name] = member

    def open(self, name: str) -> IO[bytes] | None:
        member = self._members.get(name)
        return None if member is None else self._tar.extractfile(member)


class _Header(tarfile.TarInfo):
    """A header that is judged before anything is read by it: a negative size leads back to it for ever, and a
    large one into memory (AR-03). Each archive is read by a class of its own, which counts."""

    _before: ClassVar[int] = 0

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        most = MAX_EXTENDED_BYTES if found.type in _EXTENDED else MAX_LAYER_BYTES
        if found.type not in _TYPES or not 0 <= found.size <= most:
            _malformed("the tar has a member of another kind or size than images have")
        cls._before = cls._before + 1 if found.type in _EXTENDED else 0
        if cls._before > MAX_EXTENDED:
            _malformed(f"the tar has more than {MAX_EXTENDED} headers before one member")
        return found


@contextmanager
def _opened(path: Path) -> Iterator[_Layout]:
    if path.is_dir():
        yield _Layout(path)
        return

    class Header(_Header):
        pass

    with ExitStack() as stack:
        try:
            archive = _Archive(path, stack.enter_context(tarfile.open(path, "r:", tarinfo=Header)))
        except (tarfile.TarError, ValueError):
            _malformed(
                f"{path} is neither a folder nor a plain tar",
                "skopeo copy docker://NAME oci:FOLDER writes an image that is read here",
            )
        try:
            yield archive
        except tarfile.TarError:
            _malformed(f"{path} is cut off")


def _require_one_kind(manifest: dict[str, Any]) -> None:
    """Bytes that are manifest and index in one have one digest and two images: which of them runs, whoever
    serves them says (AT-24). Source: OCI image specification, GHSA-77vh-xpmg-72qh."""
    kind = manifest.get("schemaVersion"), manifest.get("mediaType", MANIFEST)
    if kind != (2, MANIFEST) or manifest.keys() - _OF_A_MANIFEST:
        _malformed(
            "the manifest is not that of one image and of nothing else",
            f"it must be of version 2, with no other members than {', '.join(sorted(_OF_A_MANIFEST))}",
        )


def _chosen(index: dict[str, Any], tag: str | None) -> dict[str, Any]:
    listed = index.get("manifests")
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        _malformed("its index has no list of manifests")
    fits = [each for each in listed if tag is None or _annotations(each).get(_REF) == tag]
    if len(fits) != 1:
        of = "" if tag is None else f" of the tag {tag[:80]!r}"
        _malformed(f"its index has {len(fits)} images{of}, and one is wanted", "name it with --tag")
    return fits[0]


def _annotations(descriptor: dict[str, Any]) -> dict[str, Any]:
    found = descriptor.get("annotations")
    return found if isinstance(found, dict) else {}


def _descriptor(value: Any, what: str) -> tuple[str, int]:
    if not isinstance(value, dict):
        _malformed(f"{what} is named by no descriptor")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or DIGEST.fullmatch(digest) is None:
        _malformed(f"{what} is not named by SHA-256")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_LAYER_BYTES:
        _malformed(f"{what} has no size that is taken")
    return digest, size


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        return strict_json(data, MAX_DOCUMENT_BYTES, allow_floats=True)
    except FormatError as error:
        _malformed(f"{what}: {error.message}")


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name, "")
    if not isinstance(found, str) or len(found) > 80:
        _malformed(f"the configuration has {name} that is no short text")
    return found


def _malformed(message: str, hint: str | None = None) -> NoReturn:
    raise ToolError(Code.IMAGE_MALFORMED, message, hint)
