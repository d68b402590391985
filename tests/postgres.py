# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL server for tests: its data in a temporary folder, reached by a socket there alone.

    with Postgres.start() as server:
        url = server.create()        # of a new, empty database

PostgreSQL refuses to run as root, so root starts it as `nobody`.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from sealroom_agents import child_processes
from tests import processes
from tests.patience import PATIENCE_S, until

NOBODY = "nobody"
USER = "sealroom"
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # nothing here outlives the machine
    "shared_buffers": "16MB",
    "max_connections": "400",  # of all stores of a worker's tests, also those that nobody has collected yet
    "jit": "off",
}


def program(name: str) -> str | None:
    """One of PostgreSQL's programs, on PATH or where Debian puts it."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def missing() -> str | None:
    """Why no server can be started here, `None` where one can."""
    if program("postgres") is None or program("initdb") is None:
        return "there is no PostgreSQL server here: .ci/run installs one where it may"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "root needs setpriv to start PostgreSQL as somebody else"
    return None


@dataclass(frozen=True)
class Postgres:
    """One server that runs."""

    folder: Path
    """Its data and its socket."""

    @classmethod
    @contextmanager
    def start(cls, **settings: str) -> Iterator[Postgres]:
        """A fresh server, which ends with this process; `settings` of PostgreSQL go over those of tests."""
        # The path of a socket has about a hundred bytes, and pytest's folders are root's alone.
        folder = Path(tempfile.mkdtemp(prefix="sealroom-pg-"))
        process: subprocess.Popen[bytes] | None = None
        try:
            if os.geteuid() == 0:
                owner = pwd.getpwnam(NOBODY)
                os.chown(folder, owner.pw_uid, owner.pw_gid)
            data = folder / "data"
            options = [
                "--username",
                USER,
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
                "--no-locale",
                "--no-sync",
            ]
            made = subprocess.run(
                [*_as_user("initdb"), "--pgdata", str(data), *options], cwd=folder, capture_output=True
            )
            assert made.returncode == 0, made.stderr.decode()
            settings = SETTINGS | {"unix_socket_directories": str(folder)} | settings
            with (folder / "log").open("wb") as log:
                words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
                process = child_processes.start(
                    [*_as_user("postgres"), "-D", str(data), *words], cwd=folder, stdout=log, stderr=log
                )
            server = cls(folder)
            until(server._answers, process)
            yield server
        finally:
            if process is not None:
                process.send_signal(signal.SIGINT)  # a fast shutdown, which gives its shared memory back
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE_S)
                processes.end(process)
            shutil.rmtree(folder, ignore_errors=True)

    def create(self) -> str:
        """The URL of a new database with nothing in it."""
        name = f"t{secrets.token_hex(6)}"
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(host=str(self.folder), user=USER, dbname="postgres", autocommit=True)

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            self._connect().close()
            return True
        return False


def _as_user(name: str) -> list[str]:
    command = [str(program(name))]
    if os.geteuid() != 0:
        return command
    owner = pwd.getpwnam(NOBODY)
    ids = ["--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups"]
    return ["setpriv", *ids, *command]
