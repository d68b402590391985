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
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(f"{self.command} {self.path} {body.decode() if self.command == 'POST' else ''}")
            status, headers, answer = say(self.command, self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.encode())

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


def listing(parts: list[tuple[int, str, str]], marker: int | None) -> str:
    """An answer to ListParts, the last one where it has no marker."""
    more = f"<NextPartNumberMarker>{marker}</NextPartNumberMarker>" if marker is not None else ""
    told = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag><Size>{size}</Size></Part>"
        for number, tag, size in parts
    )
    truncated = str(marker is not None).lower()
    return f"<ListPartsResult><IsTruncated>{truncated}</IsTruncated>{more}{told}</ListPartsResult>"


BESIDE = (-1, 0, 3)
"""Numbers of parts that a file of two parts does not have."""


def resumed(tar: Path, pages: dict[int, str], monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], str]:
    """Parts that a run sends again, whose notes have two parts and whose store lists these pages; and what it
    says at last, since this store has no file in the end."""

    def say(method: str, path: str) -> tuple[int, dict[str, str], str]:
        if method == "GET":
            marker = re.findall(r"part-number-marker=(\d+)", path)
            return (200, {}, pages[int(marker[0])]) if marker else (404, {}, "")
        return (404, {}, "") if method == "HEAD" else (200, {"ETag": "new"}, "")

    with Outgoing(tar) as outgoing, Notes(tar, URL) as notes:
        notes.begin(Upload(outgoing.identity.hex(), "u", PART))
        notes.sent(1, {"ETag": "one"})
        notes.sent(2, {"ETag": "two"})
        for number in BESIDE:
            notes.sent(number, {"ETag": "beside"})
        last = outgoing.size - PART
    pages = {
        at: page.replace("LAST", str(last)).replace("BEYOND", str(last - PART)) for at, page in pages.items()
    }
    with store(say, monkeypatch) as asked:
        said = refused(tar)
    assert not any(f"<PartNumber>{number}<" in each for each in asked for number in BESIDE)
    sent = [int(found[1]) for each in asked if (found := re.search(r"^PUT .*partNumber=(\d+)", each))]
    return sorted(sent), said


ONE, TWO = (1, "one", str(PART)), (2, "two", "LAST")
STRANGE = [(-1, "beside", str(PART)), (0, "beside", str(PART)), (3, "beside", "BEYOND")]


@pytest.mark.parametrize(
    ("pages", "again"),
    [
        ({0: listing([ONE, TWO], None)}, []),
        ({0: listing([TWO, ONE], None)}, []),
        ({0: listing([ONE], 1), 1: listing([TWO], None)}, []),
        ({0: listing([ONE], 0)}, [2]),
        ({0: listing([ONE], 1), 1: listing([], 1)}, [2]),
        ({0: listing([(1, "one", str(PART - 1)), TWO], None)}, [1]),
        ({0: listing([(1, "one", str(-PART)), (2, "other", "LAST")], None)}, [1, 2]),
        ({0: listing([ONE, TWO, *STRANGE], None)}, []),
        ({0: listing([], None)}, [1, 2]),
    ],
    ids=[
        "whole", "out-of-order", "pages", "marker-stays", "marker-stays-later", "short", "another", "more",
        "none",
    ],
)  # fmt: skip
def test_only_parts_that_are_listed_as_they_were_sent_are_not_sent_again(
    pages: dict[int, str], again: list[int], tar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marker of a page has to lead on, and then each part has to have its tag and its length."""
    sent, said = resumed(tar, pages, monkeypatch)
    assert sent == again
    assert said.startswith("remote-")


@pytest.mark.parametrize(
    "page",
    [
        "no XML at all",
        "<ListPartsResult><Part>",
        listing([], None).replace("false", "maybe"),
        listing([ONE], None).replace(">1<", ">one<"),
        listing([ONE], None).replace("<Size>", "<Size><Size/>"),
        listing([ONE], None).replace("<Size>", "<Size>1</Size><Size>"),
    ],
)
def test_a_list_of_parts_that_cannot_be_read_is_no_traceback(
    page: str, tar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, said = resumed(tar, {0: page}, monkeypatch)
    assert said.startswith("remote-")


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
