# SPDX-License-Identifier: Apache-2.0
"""Sealed files sent to what speaks as S3 does, and lies."""

from __future__ import annotations

import random
import re
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sealroom import sealed
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.transfer import s3_parts, sending
from sealroom_agents.owner.transfer.notes import Notes, Upload
from sealroom_agents.owner.transfer.outgoing import Outgoing
from sealroom_agents.owner.transfer.pace import Limits

PART = 5 * 2**20
URL = "s3://bucket/A.tar"
BEGUN = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
Say = Callable[[str, str], tuple[int, dict[str, str], str]]
"""What a store answers to a method and a path: status, headers and body."""


@pytest.fixture
def tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sealed file of two parts."""
    monkeypatch.setattr(s3_parts, "MIN_PART_BYTES", PART)
    plain = tmp_path / "plain"
    plain.write_bytes(random.Random(7).randbytes(PART + 1))
    sealed.seal(
        plain,
        tmp_path / "A.tar",
        recipient=None,
        owner="0x" + "0a" * 20,
        name="cohort-A",
        media_type="application/octet-stream",
    )
    return tmp_path / "A.tar"


@contextmanager
def store(say: Say, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """One that answers so; what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(f"{self.command} {self.path}")
            status, headers, body = say(self.command, self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            return

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{httpd.server_address[1]}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        yield asked
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def refused(tar: Path) -> str:
    with pytest.raises(ToolError) as error:
        sending.upload(tar, URL, limits=Limits(tries=2, pause_s=0.001))
    return f"{error.value.code}: {error.value.message}"


@pytest.mark.parametrize(
    ("begun", "lacks"),
    [(BEGUN, "ETag"), ("<InitiateMultipartUploadResult></InitiateMultipartUploadResult>", "UploadId")],
)
def test_an_answer_that_lacks_what_it_must_have_is_refused(
    begun: str, lacks: str, tar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(method: str, path: str) -> tuple[int, dict[str, str], str]:
        return (404, {}, "") if method == "HEAD" else (200, {}, begun if method == "POST" else "")

    with store(say, monkeypatch):
        assert refused(tar) == f"remote-refused: {URL} answers without {lacks}"


def test_a_list_of_parts_that_never_ends_is_given_up(tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(method: str, path: str) -> tuple[int, dict[str, str], str]:
        if method == "GET":
            last = int(re.findall(r"part-number-marker=(\d+)", path)[0])
            marker = f"<NextPartNumberMarker>{last * 10 + 9}</NextPartNumberMarker>"
            return 200, {}, f"<ListPartsResult><IsTruncated>true</IsTruncated>{marker}</ListPartsResult>"
        return (404, {}, "") if method == "HEAD" else (200, {}, "")

    with Outgoing(tar) as outgoing, Notes(tar, URL) as notes:
        notes.begin(Upload(outgoing.identity.hex(), "u", PART))
    with store(say, monkeypatch) as asked:
        assert "without ETag" in refused(tar)
        assert len([each for each in asked if each.startswith("GET")]) == 5


def test_no_room_for_notes_does_not_end_an_upload(tmp_path: Path) -> None:
    """Nothing is left of them then, and no other run goes on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Notes(tmp_path / "A.tar", URL) as notes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            notes.begin(Upload("f", "u", PART))
            notes.sent(1, {"ETag": "e"})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not notes.possible
    assert list(tmp_path.iterdir()) == []
