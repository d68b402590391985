# SPDX-License-Identifier: Apache-2.0
"""A gate that says whether it is ready, and answers nothing else; and sealed files of the small study."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tests.outside import Lab

from sealroom import sealed
from sealroom.keys import KemPrivateKey
from sealroom.sealed import WrapContext


class QuietGate:
    """Whoever says hello to it waits."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.missing: list[str] = []
        """Names of the conditions that do not hold."""


@contextmanager
def quiet_gate() -> Iterator[QuietGate]:
    """One that listens on a port of its own."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = {"conditions": [{"name": name, "ok": False} for name in gate.missing]}
            data = json.dumps(body).encode()
            self.send_response(503 if gate.missing else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            over.wait()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    gate = QuietGate(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield gate
    over.set()
    server.shutdown()
    server.server_close()


def sealed_files(lab: Lab, folder: Path) -> list[Path]:
    """The datasets of the lab's recipe, of three people each, wrapped for its consortium."""
    recipient = WrapContext(
        chain_id=31337,
        consortium=lab.room.consortium,
        kms_root=bytes(32),
        gate_public_key=KemPrivateKey.generate().public,
        app=lab.room.app,
        compose_hash=lab.recipe.compose_hash,
    )
    table = pa.table({"person_id": [1, 2, 3], "age": [40.0, 50.0, 60.0], "sex": ["F", "M", "F"]})
    paths = []
    for spec in lab.recipe.datasets:
        place = folder / spec.owner
        place.mkdir(parents=True)
        pq.write_table(table, place / "table.parquet")
        paths.append(place / f"{spec.name}.tar")
        owner = "0x" + "0a" * 20
        sealed.seal(
            place / "table.parquet", paths[-1], recipient=recipient, owner=owner, name=spec.name,
            dataset_version=1,
        )  # fmt: skip
    return paths
