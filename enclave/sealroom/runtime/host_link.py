# SPDX-License-Identifier: Apache-2.0
"""The way between an enclave in a confidential VM and the runner that had it started.

Sealed datasets come in by it; the lines of the run, its one outcome and its exit status go out. Nothing here
is trusted, and nothing needs to be: datasets are opened as their owners registered them, the outcome is
signed, and lines are for people. A runner that does not answer delays no lease and no wiping, since a thread
of its own sends. The outcome is tried for `OUTCOME_SECONDS`: the ε of the run is booked.
"""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from sealroom.codes import Code
from sealroom.errors import HostError

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
"""Longest silence while a dataset or an answer is read."""
LINE_SECONDS = 30.0
"""How long one line is tried."""
OUTCOME_SECONDS = 600.0
"""How long the outcome is tried."""
PAUSE_SECONDS = 0.5
"""Between two tries."""
TRIES = 3
"""How often a dataset is fetched."""
MAX_WAITING = 1000
"""Lines that wait for the runner; what comes on top is dropped."""


@dataclass(frozen=True, kw_only=True)
class _Message:
    method: str
    path: str
    body: bytes
    patience: float
    since: float = field(default_factory=time.monotonic)


class HostLink:
    """The runner, at the URL that the hints name. `report` may be called from several threads."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._waiting: queue.Queue[_Message | None] = queue.Queue(MAX_WAITING)
        self._client = httpx.Client(
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            headers={"Accept-Encoding": "identity"},
        )
        self._numbering = threading.Lock()
        self._lines = 0
        self._sender = threading.Thread(target=self._send_all, name="host-link", daemon=True)
        self._sender.start()

    def begin(self) -> None:
        """Say that this enclave has started. Raises `HostError` "runner-refused": it had one before."""
        # Of this process alone. The same word again: its answer was lost. Another one: a second boot.
        told = json.dumps({"enclave": secrets.token_hex(16)}).encode()
        message = _Message(method="POST", path="/start", body=told, patience=LINE_SECONDS)
        if not self._send(message):
            raise HostError(Code.RUNNER_REFUSED, "the runner takes no enclave for this run, or not this one")

    def fetch(self, datasets: Mapping[str, str], folder: Path, paths: list[str]) -> None:
        """Fetch the sealed file of each path into `folder`.

        Raises `HostError` "dataset-unreachable". What a file holds is not looked at here.
        """
        for path in paths:
            url = datasets.get(path)
            if url is None:
                raise HostError(Code.DATASET_UNREACHABLE, f"the host's hints name no URL for {path}")
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(TRIES):
                try:
                    self._fetch(url, target)
                    break
                except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                    why = error.strerror if isinstance(error, OSError) else type(error).__name__
                    if attempt + 1 == TRIES:
                        raise HostError(
                            Code.DATASET_UNREACHABLE, f"{path} cannot be had from the host ({why})"
                        ) from None
                time.sleep(PAUSE_SECONDS)

    def report(self, phase: str, **facts: Any) -> None:
        """Tell a phase of the run; returns at once."""
        with self._numbering:
            self._lines += 1
            body = json.dumps({"number": self._lines, "line": {"phase": phase, **facts}}).encode()
            self._put(_Message(method="POST", path="/lines", body=body, patience=LINE_SECONDS))

    def close(self, outcome: Path | None, status: int) -> None:
        """Hand over the outcome, where there is one, and the exit status; returns when both are there, or
        nobody took them."""
        if outcome is not None:
            body = outcome.read_bytes()
            self._waiting.put(
                _Message(method="PUT", path=f"/{outcome.name}", body=body, patience=OUTCOME_SECONDS)
            )
        told = json.dumps({"status": status}).encode()
        self._waiting.put(_Message(method="POST", path="/exit", body=told, patience=OUTCOME_SECONDS))
        self._waiting.put(None)
        self._sender.join()
        self._client.close()

    def _put(self, message: _Message) -> None:
        # A line is for people; the run does not wait for them.
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(message)

    def _send_all(self) -> None:
        while (message := self._waiting.get()) is not None:
            self._send(message)

    def _send(self, message: _Message) -> bool:
        """Try until the runner took it, refuses it, or its time is over."""
        while True:
            try:
                # The answer's body is not read: its status says it all.
                with self._client.stream(
                    message.method, self._url + message.path, content=message.body,
                    headers={"Content-Type": "application/json"},
                ) as answer:  # fmt: skip
                    if answer.status_code < 500:
                        return answer.is_success
            except (httpx.HTTPError, httpx.InvalidURL):
                pass  # tried again
            if time.monotonic() - message.since > message.patience:
                return False
            time.sleep(PAUSE_SECONDS)

    def _fetch(self, url: str, target: Path) -> None:
        with self._client.stream("GET", url) as answer:
            answer.raise_for_status()
            with target.open("wb") as stream:
                for piece in answer.iter_raw():
                    stream.write(piece)
