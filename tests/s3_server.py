# SPDX-License-Identifier: Apache-2.0
"""A server that speaks S3, in a process of its own, with one bucket, behind a line that can be cut.

    with S3Server.start() as server, server.named():
        Store(database, server.place())

What it keeps is in its memory, and gone with it.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

import botocore.session
import fsspec
import httpx
import pytest

from sealroom_agents import child_processes
from sealroom_agents.object_stores import open_store
from tests import processes
from tests.cut_line import CutLine
from tests.patience import PATIENCE_S, until
from tests.ports import free_port

PROGRAM = """
import sys
from moto.server import ThreadedMotoServer
ThreadedMotoServer("127.0.0.1", int(sys.argv[1]), verbose=False).start()
sys.stdin.read()
"""
BUCKET = "sealroom"
one_loader = cache(botocore.session.create_loader)
"""Each session reads what botocore knows of all services anew, half a CPU second. Here all have one."""


@dataclass(frozen=True)
class S3Server:
    """One that runs."""

    line: CutLine
    key: str
    secret: str

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[S3Server]:
        """It ends with the test."""
        port = free_port()
        process = child_processes.start(
            [sys.executable, "-c", PROGRAM, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: _answers(port), process)
            with CutLine(("127.0.0.1", port)) as line:
                server = cls(line, f"key{secrets.token_hex(8)}", f"secret{secrets.token_hex(16)}")
                with server.named():
                    store, _ = open_store(f"s3://{BUCKET}")
                    store.mkdir(BUCKET)
                yield server
        finally:
            processes.end(process)

    def place(self) -> str:
        """A place in it where nothing is."""
        return f"s3://{BUCKET}/{secrets.token_hex(4)}"

    def environment(self) -> dict[str, str]:
        """How a process is told of it, as of any S3."""
        return {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.line.port}",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @contextmanager
    def named(self) -> Iterator[None]:
        """This process is told of it."""
        kind = fsspec.get_filesystem_class("s3")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment().items():
                patch.setenv(name, value)
            patch.setattr(botocore.session, "create_loader", one_loader)
            kind.clear_instance_cache()
            yield
            kind.clear_instance_cache()


def _answers(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S).status_code < 500
    return False
