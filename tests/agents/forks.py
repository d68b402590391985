# SPDX-License-Identifier: Apache-2.0
"""Starts `sealroom` often, without what each start costs: a process imports what the commands need, once.

It forks for each call, which is a process of its own all the same: with the caller's folder, environment,
stdin, stdout and stderr, and with an exit status. Only its imports are not its own. So this is for what
commands say and write; how they start is seen by the tests of help, of terminals, of the installed package
and of the story.
"""

from __future__ import annotations

import atexit
import importlib
import marshal
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

COUNT = 8
"""Bytes that say how long a request is, and how many an exit status has."""
END_S = 60
"""Seconds for which its end is waited for."""
PACKAGES = (
    "sealroom.recipe",
    "sealroom.schema",
    "sealroom.sealed",
    "sealroom_agents.attestation",
    "sealroom_agents.cli",
    "sealroom_agents.owner",
    "sealroom_agents.verification",
)
"""Of ours, all modules in them are imported before the first call."""
OTHERS = ("eth_account", "pandas", "pyarrow.csv", "pyarrow.dataset", "pyarrow.ipc", "pyarrow.parquet", "rich")
"""Of others, these."""
CLIENT = f"""\
#!{{python}} -IS
import marshal, os, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({{address!r}})
request = marshal.dumps((os.getcwd(), sys.argv, dict(os.environ)))
socket.send_fds(link, [len(request).to_bytes({COUNT}, "big")], [0, 1, 2])
link.sendall(request)
sys.exit(int.from_bytes(link.recv({COUNT}) or b"\\x46", "big"))
"""
"""The `sealroom` of the path. Status 70: the server went away."""


@cache
def folder() -> str:
    """A folder for the front of the path, whose `sealroom` is forked. The server ends with this process."""
    place = Path(tempfile.mkdtemp(prefix="sealroom-forks-"))
    address = str(place / "socket")
    client = place / "sealroom"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o700)
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, address],
        stdin=subprocess.PIPE,  # ends when we do, however that is
        stdout=subprocess.PIPE,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # a fork has no threads
    )
    assert server.stdout is not None and server.stdout.readline() == b"ready\n"
    atexit.register(_end, server, place)
    return str(place)


def _end(server: subprocess.Popen[bytes], place: Path) -> None:
    """Let the server end, and leave nothing behind."""
    server.communicate(timeout=END_S)
    shutil.rmtree(place)


def _load() -> None:
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(package.__path__, f"{name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in OTHERS:
        importlib.import_module(name)


def _serve(address: str) -> None:
    """Fork for each call, until stdin ends. Returns in the forks alone, ready to run the command."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer a call
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        if listener not in ready:
            sys.exit()
        link, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(link)
            return
        link.close()


def _answer(link: socket.socket) -> None:
    """Fork the command, and say how it ended; it dies with its caller. Returns in the fork."""
    head, streams, _, _ = socket.recv_fds(link, COUNT, 3)
    body = b""
    while len(body) < int.from_bytes(head, "big"):
        body += link.recv(1 << 20) or sys.exit("the caller went away")
    where, words, environment = marshal.loads(body)
    ended, end = os.pipe()
    command = os.fork()
    if command == 0:
        link.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(where)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = words
        return
    os.close(end)
    for stream in streams:
        os.close(stream)
    ready, _, _ = select.select([ended, link], [], [])
    if ended not in ready:
        os.kill(command, signal.SIGKILL)
    _, status = os.waitpid(command, 0)
    code = os.waitstatus_to_exitcode(status)
    with suppress(OSError):
        link.sendall((code if code >= 0 else 128 - code).to_bytes(COUNT, "big"))
    os._exit(0)


def _leave(code: str | int | None) -> NoReturn:
    """End as an exit does, but without the destructors of C++ libraries: of threads that a fork does not have
    they make a signal."""
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _load()
    _serve(sys.argv[1])
    from sealroom_agents.cli import main

    try:
        main()
    except SystemExit as ended:
        _leave(ended.code)
    _leave(None)
