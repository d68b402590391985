# SPDX-License-Identifier: Apache-2.0
"""Sending and fetching a sealed file of half a gigabyte, beside ``cp``, ``curl`` and ``rclone`` in one run.

All lies in memory, and servers are on this machine: what is measured is the work around the bytes. Ours
compares each byte with the index, and what it sends, once more as the store gives it back; the peers copy.
The server of S3 is moto's, which is slow, and as slow for its peer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests import processes
from tests.bench.sealing import SHM, _rounds, _table
from tests.ports import free_port
from tests.s3_server import BUCKET, S3Server

from sealroom import sealed

BYTES = 500_000_000
S3_BYTES = 100_000_000
ROUNDS = 5
PARTS = ("file", "http", "s3")


def run(part: str = "") -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="sealroom-bench-", dir=SHM if SHM.is_dir() else None))
    try:
        load = os.getloadavg()[0]
        yield f"medians of {ROUNDS} rounds; {os.cpu_count()} cores, load {load:.1f} at the start"
        yield ""
        for name, bench in (("file", _file), ("http", _http), ("s3", _s3)):
            if part in ("", name):
                yield from bench(folder)
    finally:
        shutil.rmtree(folder)


def _file(folder: Path) -> Iterator[str]:
    tar, out = _sealed(folder, BYTES), folder / "out"
    steps = {
        "cp": ["cp", str(tar), str(out)],
        "sealroom upload": _ours("upload", str(tar), f"file://{out}", "--yes"),
        "sealroom upload --no-read-back": _ours(
            "upload", str(tar), f"file://{out}", "--yes", "--no-read-back"
        ),
        "sealroom fetch": _ours("fetch", f"file://{tar}", *_expected(tar), "--out", str(out)),
    }
    peers = {name: ["cp"] for name in steps if name != "cp"}
    yield from _table(f"file://, {BYTES / 1e6:.0f} MB", _rounds(steps, out, rounds=ROUNDS), peers)


def _http(folder: Path) -> Iterator[str]:
    rclone = shutil.which("rclone")
    if rclone is None:
        yield "rclone is not installed (Debian: `apt-get install rclone`): nothing serves HTTP in ranges"
        return
    tar, out = _sealed(folder, BYTES), folder / "out"
    with _serving(rclone, folder) as url:
        steps = {
            "curl": ["curl", "-sfo", str(out), f"{url}/{tar.name}"],
            "rclone copyurl": [rclone, "copyurl", f"{url}/{tar.name}", str(out)],
            "sealroom fetch": _ours("fetch", f"{url}/{tar.name}", *_expected(tar), "--out", str(out)),
        }
        runs = _rounds(steps, out, rounds=ROUNDS)
    yield from _table(f"http, {BYTES / 1e6:.0f} MB", runs, {"sealroom fetch": ["curl", "rclone copyurl"]})


def _s3(folder: Path) -> Iterator[str]:
    rclone = shutil.which("rclone")
    tar, out = _sealed(folder, S3_BYTES), folder / "out"
    with S3Server.start() as server, server.named():
        there = f"s3://{BUCKET}/{tar.name}"
        ours = _ours("upload", str(tar), there, "--yes", "--overwrite")
        subprocess.run(ours, check=True, stdout=subprocess.DEVNULL)
        up = {"sealroom upload": ours, "sealroom upload --no-read-back": [*ours, "--no-read-back"]}
        down = {"sealroom fetch": _ours("fetch", there, *_expected(tar), "--out", str(out))}
        if rclone is None:
            yield "rclone is not installed (Debian: `apt-get install rclone`): its rows are missing"
        else:
            remote = (
                f":s3,provider=Other,env_auth=true,endpoint='{os.environ['AWS_ENDPOINT_URL_S3']}':{BUCKET}"
            )
            # Of an older rclone, the SDK ends at the name of a bundle of certificates; none is needed here.
            peer = ["env", "-u", "AWS_CA_BUNDLE", rclone, "copyto"]
            up["rclone copy"] = [*peer, "--ignore-times", str(tar), f"{remote}/{tar.name}"]
            down["rclone copy"] = [*peer, f"{remote}/{tar.name}", str(out)]
        title = f"s3, {S3_BYTES / 1e6:.0f} MB"
        peers = {name: ["rclone copy"] for name in up if name != "rclone copy"}
        yield from _table(f"{title}, sent", _rounds(up, rounds=ROUNDS), peers)
        yield from _table(
            f"{title}, fetched", _rounds(down, out, rounds=ROUNDS), {"sealroom fetch": ["rclone copy"]}
        )


def _sealed(folder: Path, size: int) -> Path:
    plain, target = folder / "plain", folder / f"{size}.tar"
    if not target.exists():
        plain.write_bytes(os.urandom(size))
        sealed.seal(
            plain,
            target,
            recipient=None,
            owner="0x" + "a1" * 20,
            name="bench",
            media_type="application/octet-stream",
        )
        plain.unlink()
        registration = _registration(target)
        registration.write_bytes(_registered(target))
    return target


def _registered(tar: Path) -> bytes:
    from sealroom_agents.owner.registration import registration_file, registration_of

    return registration_file(registration_of(sealed.inspect(tar)))


def _registration(tar: Path) -> Path:
    return tar.with_suffix(".registration.json")


def _expected(tar: Path) -> tuple[str, str]:
    return "--registration", str(_registration(tar))


def _ours(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sealroom_agents.cli", *arguments]


@contextmanager
def _serving(rclone: str, folder: Path) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [rclone, "serve", "http", "--addr", f"127.0.0.1:{port}", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        processes.end(process)
