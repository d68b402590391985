# SPDX-License-Identifier: Apache-2.0
"""Files of releases, and images in the OCI layout, as a build would write them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from sealroom_agents.released import Release, Released

BASE = f"python:3.11-slim-bookworm@sha256:{'ba5e' * 16}"


def minted_release(digest: str = "1a" * 32, enclave: str = "2b" * 32) -> Release:
    """A release with these digests of agents and enclave, in hex."""
    return Release(
        release="9.9.9",
        commit="c0" * 20,
        epoch=1_790_000_000,
        builder="buildah 1.28.2",
        base=BASE,
        images={
            name: Released(
                name=f"ghcr.io/sealroom/{name}", digest=f"sha256:{word}", sbom=f"sha256:{'5b' * 32}"
            )
            for name, word in (("agents", digest), ("enclave", enclave))
        },
    )


def layer(content: bytes) -> bytes:
    """A layer of one file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("opt/file")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), mtime=0)


def minted_image(folder: Path, *, layers: tuple[bytes, ...] = (b"one", b"two"), tag: str = "") -> str:
    """Write an image in the OCI layout, into a new folder or beside those that are there; its digest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-09-21T14:13:20Z",
        "config": {"User": "10001:10001"},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    manifest = {
        "schemaVersion": 2,
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": [put(layer(content), "layer.v1.tar+gzip") for content in layers],
    }
    named = put(json.dumps(manifest).encode(), "manifest.v1+json")
    if tag:
        named["annotations"] = {"org.opencontainers.image.ref.name": tag}
    index = folder / "index.json"
    listed = json.loads(index.read_bytes())["manifests"] if index.exists() else []
    index.write_text(json.dumps({"schemaVersion": 2, "manifests": [*listed, named]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(named["digest"])


def archived(folder: Path, target: Path) -> Path:
    """The layout as one tar."""
    with tarfile.open(target, "w") as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, path.relative_to(folder), recursive=False)
    return target
