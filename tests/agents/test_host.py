# SPDX-License-Identifier: Apache-2.0
"""What the processes share: secrets in files, signals, the ready file, listening and serving."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.patience import PATIENCE_S, until

from sealroom_agents.errors import ConfigurationError
from sealroom_agents.host import (
    MAX_HEAD_BYTES,
    MAX_KEY_BYTES,
    MAX_TOKEN_BYTES,
    MIN_TOKEN_CHARACTERS,
    address_option,
    announce,
    listen,
    read_key,
    read_token,
)

TOKEN = "t" * MIN_TOKEN_CHARACTERS
KEY = "0x" + "11" * 32
SIGNALS = [signal.SIGTERM, signal.SIGINT]

SERVER = """
import asyncio, sys
from pathlib import Path
from fastapi import FastAPI
from sealroom_agents.host import announce, listen, serve
from sealroom_agents.telemetry.logs import log_to_stderr
app = FastAPI()
@app.get("/")
async def quick():
    return "done"
@app.get("/slow")
async def slow():
    Path(sys.argv[2]).touch()
    await asyncio.sleep(600)
log_to_stderr()
with listen("127.0.0.1", 0) as (listener, url):
    serve(app, listener, ready=lambda: announce(Path(sys.argv[1]), url=url), keep_alive_s=5)
print("in order")
"""

WAITER = """
import sys
from threading import Event
from sealroom_agents.host import on_signals
first, second = Event(), Event()
on_signals(first.set, second.set)
print("ready", flush=True)
first.wait()
print("first", flush=True)
second.wait()
print("second", flush=True)
"""


def secret(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("read", "content"), [(read_token, TOKEN), (read_key, KEY)])
def test_a_secret_is_read_from_a_file_for_its_owner_alone(
    tmp_path: Path, read: Callable[[Path], Any], content: str
) -> None:
    """OP-03."""
    path = secret(tmp_path / "secret", content.encode() + b"\n")
    assert read(path) in (content, bytes.fromhex(content.removeprefix("0x")) if read is read_key else None)
    for mode in (0o640, 0o604, 0o620, 0o601):
        path.chmod(mode)
        with pytest.raises(ConfigurationError) as caught:
            read(path)
        assert caught.value.hint == f"chmod 600 {path}"
    with pytest.raises(ConfigurationError):
        read(tmp_path / "none")
    with pytest.raises(ConfigurationError):
        read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"t" * (MIN_TOKEN_CHARACTERS - 1), b"t" * 20 + b" " + b"t" * 20, b"t" * 40 + b"\0",
        "é".encode() * 40, b"t" * 40 + b"\n" + b"t" * 40, b"t" * (MAX_TOKEN_BYTES + 1),
        b"t" * 40 + b"\n" * MAX_TOKEN_BYTES,
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_token(secret(tmp_path / "token", content))
    assert caught.value.code == "token-file" and "ttt" not in str(caught.value)


@pytest.mark.parametrize("length", [MIN_TOKEN_CHARACTERS, MAX_TOKEN_BYTES])
def test_tokens_of_the_least_and_the_greatest_length_are_read(tmp_path: Path, length: int) -> None:
    assert read_token(secret(tmp_path / "token", b"t" * length)) == "t" * length


@pytest.mark.parametrize(
    "content",
    ["", "11" * 32, "0x" + "zz" * 32, KEY + "1", KEY + "\n" * MAX_KEY_BYTES],
    ids=["empty", "bare", "no-hex", "long", "larger"],
)
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    """OP-04."""
    with pytest.raises(ConfigurationError) as caught:
        read_key(secret(tmp_path / "key", content.encode()))
    assert caught.value.code == "key-file"
    assert "zz" not in str(caught.value) and "11" not in str(caught.value).removeprefix(str(tmp_path))


def test_an_address_is_read_in_any_case_and_a_wrong_one_names_its_option() -> None:
    assert address_option("0x" + "AB" * 20, "factory") == "0x" + "ab" * 20
    with pytest.raises(ConfigurationError, match="--factory '0x12' is"):
        address_option("0x12", "factory")


def test_the_ready_file_names_the_process(tmp_path: Path) -> None:
    announce(None, url="nowhere")
    for url in ("http://one", "http://two"):
        announce(tmp_path / "ready", url=url)
        assert json.loads((tmp_path / "ready").read_text()) == {"url": url, "pid": os.getpid()}
    assert os.listdir(tmp_path) == ["ready"]


def test_a_port_that_is_taken_is_a_wrong_configuration() -> None:
    with listen("127.0.0.1", 0) as (first, _), pytest.raises(ConfigurationError) as caught:
        listen("127.0.0.1", first.getsockname()[1]).__enter__()
    assert caught.value.code == "listen"
    with pytest.raises(ConfigurationError):
        listen("no host of this name.invalid", 0).__enter__()


def test_an_ipv6_address_is_written_as_a_url_has_it() -> None:
    try:
        with listen("::1", 0) as (listener, url):
            assert url == f"http://[::1]:{listener.getsockname()[1]}"
            socket.create_connection(listener.getsockname()[:2]).close()
    except ConfigurationError:
        with pytest.raises(OSError), socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", SERVER, str(tmp_path / "ready"), str(tmp_path / "slow")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until((tmp_path / "ready").exists, process)
        yield process, json.loads((tmp_path / "ready").read_text())["url"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_server_in_order_with_status_0(
    server: tuple[subprocess.Popen[str], str], number: signal.Signals
) -> None:
    process, url = server
    assert httpx.get(url, timeout=PATIENCE_S).json() == "done"
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "in order\n", "")


def refuses(url: str) -> bool:
    """Whether nobody listens there any more."""
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE_S).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_a_server_whose_answer_takes_long(
    server: tuple[subprocess.Popen[str], str], tmp_path: Path, number: signal.Signals
) -> None:
    process, url = server

    def ask() -> None:
        # Cut off, or answered with an error: which of them, uvicorn decides.
        with suppress(httpx.TransportError):
            httpx.get(f"{url}/slow", timeout=PATIENCE_S)

    asking = threading.Thread(target=ask)
    asking.start()
    until((tmp_path / "slow").exists, process)
    process.send_signal(number)
    until(lambda: refuses(url), process)  # the first one was heard
    assert process.poll() is None
    process.send_signal(number)
    assert process.communicate(timeout=PATIENCE_S)[0] == "in order\n"
    assert process.returncode == 0
    asking.join(PATIENCE_S)
    assert not asking.is_alive()


def test_a_head_that_is_too_large_is_refused(server: tuple[subprocess.Popen[str], str]) -> None:
    host, port = server[1].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as client:
        client.sendall(b"GET / HTTP/1.1\r\nx: " + b"x" * MAX_HEAD_BYTES)
        assert client.makefile("rb").readline() == b"HTTP/1.1 400 Bad Request\r\n"


def cut_off(client: socket.socket) -> bool:
    """Whether the server has closed this connection, on which it says nothing."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


DRIPPING = (
    """
import sys
from sealroom_agents import host
host.HEAD_S = host.BODY_S = 0.3
"""
    + SERVER
)


def test_nobody_holds_a_connection_with_a_head_or_a_body_that_does_not_end(tmp_path: Path) -> None:
    """RE-05, OP-08: a byte now and then is as good as silence; who has spoken to the end is not cut off."""
    ready = tmp_path / "ready.json"
    with subprocess.Popen(
        [sys.executable, "-c", DRIPPING, str(ready), str(tmp_path / "slow")], stdout=subprocess.PIPE
    ) as process:
        until(ready.exists, process)
        host, port = json.loads(ready.read_text())["url"].removeprefix("http://").split(":")
        head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n"
        whole = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"  # and the ends of lines, which no parser tells of
        for begin, drip in (
            (b"", b""), (b"G", b"E"), (head, b"x"), (head + b"\r\n", b"x"), (whole, b"\r\n"),
        ):  # fmt: skip
            with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as client:
                client.settimeout(0.1)
                deadline = time.monotonic() + PATIENCE_S
                over, said = False, begin
                while not over:
                    assert time.monotonic() < deadline
                    try:
                        client.sendall(said)
                        over, said = client.recv(65536) == b"", drip
                    except TimeoutError:
                        said = drip
                    except OSError:
                        over = True

        def answering() -> socket.socket | None:
            """A connection with a whole head, which is being answered; on a busy machine, the head may be too
            late for once."""
            client = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
            client.sendall(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
            until(lambda: (tmp_path / "slow").exists() or cut_off(client), process)
            if (tmp_path / "slow").exists():
                return client
            client.close()
            return None

        with until(answering) as client:
            client.settimeout(1)
            with pytest.raises(TimeoutError):
                client.recv(1)
        process.kill()


CROWDED = (
    """
from sealroom_agents import host
host.HEAD_S = host.BODY_S = 3600
serve_all = host.serve
host.serve = lambda *args, **options: serve_all(*args, **options | dict(connections=8, keep_alive_s=3600))
"""
    + SERVER
)


def test_nobody_is_refused_because_a_stranger_holds_all_connections(tmp_path: Path) -> None:
    """RE-05, OP-05: silent ones, ones in the middle of a head or a body, and ones with an answer behind them:
    they go before one that is being answered, and before those of a client with fewer."""
    ready, slow = tmp_path / "ready.json", tmp_path / "slow"
    whole = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    begun = (b"", b"GET / HT", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx", whole)
    command = [sys.executable, "-c", CROWDED, str(ready), str(slow)]
    with ExitStack() as held:
        process = held.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        held.callback(process.kill)
        until(ready.exists, process)
        host, port = json.loads(ready.read_text())["url"].removeprefix("http://").split(":")

        def connect(said: bytes, source: str = "127.0.0.1") -> socket.socket:
            made = socket.create_connection((host, int(port)), PATIENCE_S, source_address=(source, 0))
            held.callback(made.close)
            made.sendall(said)
            return made

        def answered(client: socket.socket) -> bool:
            said = b""
            while not said.endswith(b'"done"') and (more := client.recv(65536)):
                said += more
            return said.startswith(b"HTTP/1.1 200") and said.endswith(b'"done"')

        waiting = connect(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        until(slow.exists, process)
        lease = connect(whole, "127.0.0.2")
        assert answered(lease)
        for said in begun * 8:
            connect(said)
            honest = connect(whole, "127.0.0.3")
            assert answered(honest), said
            honest.close()
        lease.sendall(whole)
        assert answered(lease), "it had fewer, and keeps its connection"
        waiting.settimeout(0.1)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        # Where all are at work, one more is told so.
        told = b""
        while not told.startswith(b"HTTP/1.1 503"):
            busy = connect(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
            busy.settimeout(0.2)
            with suppress(OSError):  # at work, or gone for the next one before it was
                told = busy.recv(65536)


@pytest.mark.parametrize("signals", [SIGNALS, SIGNALS[::-1], SIGNALS[:1] * 2])
def test_the_nth_signal_has_the_nth_action(signals: list[signal.Signals]) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line, number in zip(("ready\n", "first\n"), signals, strict=True):
            assert process.stdout.readline() == line
            process.send_signal(number)
        assert process.stdout.readline() == "second\n"
        assert process.wait(PATIENCE_S) == 0
