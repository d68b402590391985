# SPDX-License-Identifier: Apache-2.0
"""Sealed files on their way: stores that keep them, and servers that lie."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy
import pyarrow as pa
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem
from tests.agents.shell import shell
from tests.agents.worked import APP, CHAIN_ID, CONSORTIUM, write_cohort

from sealroom import sealed
from sealroom.encoding import sha256
from sealroom.errors import SealroomError
from sealroom.keys import KemPrivateKey
from sealroom_agents.cli import transfer
from sealroom_agents.errors import CommandExit, ToolError
from sealroom_agents.owner.registering import registration_of_file
from sealroom_agents.owner.registration import load_registration, registration_file, registration_of
from sealroom_agents.owner.transfer import fetching, sending, web
from sealroom_agents.owner.transfer.fetching import Expected
from sealroom_agents.owner.transfer.pace import Limits

ROWS = 300_000
QUICK = Limits(tries=2, pause_s=0.001)


@pytest.fixture(scope="module")
def tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed file of several megabytes: long enough that its header is judged before its end."""
    folder = tmp_path_factory.mktemp("sealed")
    random = numpy.random.default_rng(7)
    columns = {
        "person_id": pa.array(random.integers(0, 2**62, ROWS)),
        "age": pa.array(random.random(ROWS)),
        "sex": pa.array(["F"] * ROWS),
    }
    write_cohort(folder / "cohort-A.parquet", columns=columns)
    recipient = sealed.WrapContext(
        chain_id=CHAIN_ID,
        consortium=CONSORTIUM,
        kms_root=bytes(32),
        gate_public_key=KemPrivateKey.generate().public,
        app=APP,
        compose_hash=bytes(32),
    )
    sealed.seal(
        folder / "cohort-A.parquet",
        folder / "A.tar",
        recipient=recipient,
        owner="0x" + "0a" * 20,
        name="cohort-A",
        part_size=2**16,
    )
    return folder / "A.tar"


@pytest.fixture
def expected(tar: Path) -> Expected:
    """What was registered."""
    return Expected(registration=registration_of(sealed.inspect(tar)), digest=None)


@dataclass
class Server:
    """A real server; what it answers is for the test to say."""

    url: str = ""
    kept: dict[str, bytes] = field(default_factory=dict)
    """What was put there, and what a GET gives back."""
    answer: Callable[[BaseHTTPRequestHandler], None] | None = None
    """Answers a GET instead."""
    asked: list[str] = field(default_factory=list)
    """Method and path of each request."""
    put_status: int = 201


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(f"GET {self.path}")
            if made.answer is not None:
                made.answer(self)
            elif self.path in made.kept:
                body(self, made.kept[self.path])
            else:
                self.send_error(404)

        def do_PUT(self) -> None:
            made.asked.append(f"PUT {self.path}")
            length = int(self.headers["Content-Length"])
            data = self.rfile.read(length)
            if len(data) < length:  # as every store: what is not whole is not kept
                self.close_connection = True
                return
            made.kept[self.path] = data
            self.send_response(made.put_status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with running(Handler) as url:
        made.url = url
        yield made


class QuietServer(ThreadingHTTPServer):
    """Whoever hangs up on a lying server is right to."""

    def handle_error(self, request: object, client_address: object) -> None:
        return


@contextmanager
def running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    httpd = QuietServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, name="store", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def body(request: BaseHTTPRequestHandler, data: bytes, *, length: int | None = None) -> None:
    """Answer 200 with `data`, and with this length where it is another."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(data) if length is None else length))
    request.end_headers()
    request.wfile.write(data)


def refused(url: str, target: Path, expected: Expected) -> str:
    """The code with which a fetch is refused; nothing may be left of it."""
    with pytest.raises(SealroomError) as error:
        fetching.fetch(url, target, expected=expected, limits=QUICK)
    assert list(target.parent.iterdir()) == []
    return error.value.code


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where a fetched file goes: a folder of its own."""
    folder = tmp_path / "got"
    folder.mkdir()
    return folder / "A.tar"


# --- there and back --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["file", "memory", "http"])
def test_a_sealed_file_comes_back_as_it_was_sent(
    scheme: str, tar: Path, server: Server, tmp_path: Path, target: Path, expected: Expected
) -> None:
    url = {
        "file": f"file://{tmp_path}/store/A.tar",
        "memory": "memory://back/A.tar",
        "http": f"{server.url}/A",
    }
    sent = sending.upload(tar, url[scheme])
    assert sent.read_back and sent.digest == sha256(tar.read_bytes())
    fetched = fetching.fetch(url[scheme], target, expected=expected)
    assert target.read_bytes() == tar.read_bytes()
    assert fetched.info.dataset_id == sent.info.dataset_id
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_digest_alone_is_enough_to_fetch_by(tar: Path, server: Server, target: Path) -> None:
    server.kept["/A"] = tar.read_bytes()
    by_digest = Expected(registration=None, digest=sha256(tar.read_bytes()))
    fetching.fetch(f"{server.url}/A", target, expected=by_digest)
    assert target.exists()


def test_a_resealed_file_has_the_registered_index_and_another_digest(
    tar: Path, server: Server, target: Path, expected: Expected
) -> None:
    content = bytearray(tar.read_bytes())
    place = content.index(b'"chainId":31337')
    content[place + 10 : place + 11] = b"2"
    server.kept["/A"] = bytes(content)
    by_digest = Expected(registration=None, digest=sha256(tar.read_bytes()))
    assert refused(f"{server.url}/A", target, by_digest) == "remote-differs"
    fetching.fetch(f"{server.url}/A", target, expected=expected)


def test_nothing_is_sent_over_what_lies_there_unless_told(tar: Path) -> None:
    sending.upload(tar, "memory://over/A.tar")
    with pytest.raises(ToolError) as error:
        sending.upload(tar, "memory://over/A.tar")
    assert error.value.code == "remote-exists"
    sending.upload(tar, "memory://over/A.tar", overwrite=True)


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_file_that_changes_while_it_is_sent_appears_nowhere(scheme: str, tar: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.tar"
    mine.write_bytes(tar.read_bytes())
    url = f"file://{tmp_path}/store/A.tar" if scheme == "file" else "memory://changed/A.tar"

    def change(done: int, total: int) -> None:
        with mine.open("r+b") as stream:
            stream.seek(total - 2000)
            stream.write(b"changed")

    with pytest.raises(ToolError) as error:
        sending.upload(mine, url, progress=change)
    assert error.value.code == "source-changed"
    store, path = fsspec.core.url_to_fs(url)
    assert not store.exists(path)


@pytest.mark.parametrize("place", [0.2, 0.95])
@pytest.mark.parametrize("scheme", ["file", "memory", "http"])
def test_a_broken_file_never_appears(
    scheme: str, place: float, tar: Path, server: Server, tmp_path: Path
) -> None:
    """It is found out on the way, and the last byte of what was sent never comes."""
    url = {"file": f"file://{tmp_path}/store/A.tar", "memory": "memory://broken/A.tar"}
    content = bytearray(tar.read_bytes())
    content[int(len(content) * place)] ^= 1
    (tmp_path / "mine.tar").write_bytes(content)
    with pytest.raises(SealroomError) as error:
        sending.upload(tmp_path / "mine.tar", url.get(scheme, f"{server.url}/A"))
    assert error.value.code == "part-altered"
    assert server.kept == {} and not list(tmp_path.glob("store/*"))
    if scheme == "memory":
        assert not fsspec.filesystem("memory").exists("/broken/A.tar")


def test_a_store_that_keeps_something_else_is_found_out(tar: Path, server: Server) -> None:
    server.answer = lambda request: body(request, b"thanks")
    with pytest.raises(ToolError) as error:
        sending.upload(tar, f"{server.url}/A")
    assert error.value.code == "remote-differs"


def test_a_redirect_is_never_followed_with_a_file_in_hand(tar: Path, server: Server) -> None:
    server.put_status = 307
    with pytest.raises(ToolError) as error:
        sending.upload(tar, f"{server.url}/A")
    assert error.value.code == "remote-refused"
    assert server.asked == ["PUT /A"]


# --- hostile servers -------------------------------------------------------------------------------


def test_too_few_bytes_are_refused(tar: Path, server: Server, target: Path, expected: Expected) -> None:
    data = tar.read_bytes()
    server.answer = lambda request: body(request, data[:-600], length=len(data))
    assert refused(f"{server.url}/A", target, expected) == "remote-unreachable"
    server.answer = lambda request: body(request, data[:-600])
    assert refused(f"{server.url}/A", target, expected) == "archive-truncated"


def test_a_byte_more_is_refused(tar: Path, server: Server, target: Path, expected: Expected) -> None:
    server.kept["/A"] = tar.read_bytes() + b"\0"
    assert refused(f"{server.url}/A", target, expected) == "archive-malformed"


def test_an_endless_body_is_cut_off_at_what_the_header_allows(
    tar: Path, server: Server, target: Path, expected: Expected
) -> None:
    sent = 0

    def endless(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.send_response(200)
        request.end_headers()
        request.wfile.write(tar.read_bytes()[:-1024])
        try:
            while sent < 2**30:
                sent += request.wfile.write(bytes(2**20))
        except OSError:  # the other side has had enough
            return

    server.answer = endless
    assert refused(f"{server.url}/A", target, expected) == "remote-too-long"
    assert sent < 2**26


def test_a_stated_length_beyond_the_header_is_refused_before_it_is_read(
    tar: Path, server: Server, target: Path, expected: Expected
) -> None:
    server.answer = lambda request: body(request, tar.read_bytes(), length=2**40)
    assert refused(f"{server.url}/A", target, expected) == "remote-too-long"


def test_a_header_that_claims_more_than_there_is_room_for_is_refused(
    tar: Path, server: Server, target: Path, expected: Expected
) -> None:
    server.kept["/A"] = tar.read_bytes()
    with pytest.raises(ToolError) as error:
        fetching.fetch(f"{server.url}/A", target, expected=expected, free=lambda _: 1000)
    assert error.value.code == "no-space"


@pytest.mark.parametrize("where", [700, 9000, -4000])
def test_one_other_byte_is_refused(
    where: int, tar: Path, server: Server, target: Path, expected: Expected
) -> None:
    content = bytearray(tar.read_bytes())
    content[where] ^= 1
    server.kept["/A"] = bytes(content)
    assert refused(f"{server.url}/A", target, expected) in {
        "header-malformed",
        "dataset-mismatch",
        "part-altered",
        "index-malformed",
        "remote-differs",
    }


@pytest.mark.parametrize("to", ["file:///etc/hostname", "ftp://host.example/A", "gopher://x/", "http://["])
def test_a_redirect_to_anything_but_http_is_refused(
    to: str, server: Server, target: Path, expected: Expected
) -> None:
    server.answer = lambda request: leads(request, to)
    assert refused(f"{server.url}/A", target, expected) == "redirect-refused"
    assert server.asked == ["GET /A"]


def test_a_redirect_within_http_is_followed(
    tar: Path, server: Server, target: Path, expected: Expected
) -> None:
    data = tar.read_bytes()
    server.answer = lambda request: leads(request, "/B") if request.path == "/A" else body(request, data)
    fetching.fetch(f"{server.url}/A", target, expected=expected)
    assert server.asked == ["GET /A", "GET /B"]


def test_a_redirect_out_of_https_is_refused() -> None:
    assert web._next("https://host.example/A", "/B") == "https://host.example/B"
    with pytest.raises(ToolError) as error:
        web._next("https://host.example/A", "http://host.example/B")
    assert error.value.code == "redirect-refused"


def test_a_circle_of_redirects_ends(server: Server, target: Path, expected: Expected) -> None:
    server.answer = lambda request: leads(request, "/A")
    assert refused(f"{server.url}/A", target, expected) == "redirect-refused"


@pytest.mark.parametrize("status", [206, 403, 404, 500])
def test_any_other_answer_is_refused(status: int, server: Server, target: Path, expected: Expected) -> None:
    server.answer = lambda request: request.send_error(status)
    assert refused(f"{server.url}/A", target, expected) == "remote-refused"


def test_a_compressed_body_is_not_unpacked(server: Server, target: Path, expected: Expected) -> None:
    def packed(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", "3")
        request.end_headers()
        request.wfile.write(b"zip")

    server.answer = packed
    assert refused(f"{server.url}/A", target, expected) == "remote-refused"


def test_no_message_repeats_the_permission_in_a_signed_url(tar: Path, server: Server, tmp_path: Path) -> None:
    """OP-03."""
    server.answer = lambda request: request.send_error(403)
    signed = f"{server.url.replace('//', '//user:hidden@')}/A?X-Signature=secret"
    done = shell(f'sealroom upload {tar} "{signed}" --yes', tmp_path)
    assert done.returncode == 1
    assert f"error: {server.url}/A answers 403" in done.stdout
    assert "secret" not in done.stdout and "hidden" not in done.stdout


class ForgetfulStore(MemoryFileSystem):
    """Says of each file that it is longer."""

    cachable = False

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        known = super().info(path, **options)
        return {**known, "size": known["size"] + 512}


def test_a_store_that_gives_fewer_bytes_than_it_said_is_refused(
    tar: Path, target: Path, expected: Expected
) -> None:
    sending.upload(tar, "memory://short/A.tar")
    fsspec.register_implementation("memory", ForgetfulStore, clobber=True)
    try:
        assert refused("memory://short/A.tar", target, expected) == "remote-too-short"
    finally:
        fsspec.register_implementation("memory", MemoryFileSystem, clobber=True)


def test_two_runs_do_not_fetch_into_one_file(
    tar: Path, server: Server, target: Path, expected: Expected
) -> None:
    server.kept["/A"] = tar.read_bytes()
    with fetching._beside(target), pytest.raises(ToolError) as error:
        fetching.fetch(f"{server.url}/A", target, expected=expected)
    assert error.value.code == "already-fetching"
    fetching.fetch(f"{server.url}/A", target, expected=expected)


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_an_upload_that_is_stopped_says_what_is_there(
    scheme: str, tar: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is sent nothing is, or nobody can tell; while it is compared, all of it."""
    url = {"file": f"file://{tmp_path}/store/A.tar", "http": f"{server.url}/A"}[scheme]
    told = {}
    real = sending.upload
    for share in (0.1, 0.9):

        def stop(done: int, total: int, share: float = share) -> None:
            if done > share * total:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(sending, "upload", partial(stopped_upload, real, stop))
            done = CliRunner().invoke(transfer.upload, [str(tar), url, "--yes"], standalone_mode=False)
        assert done.return_value == CommandExit.INTERRUPTED, done.exception
        told[share] = done.stderr
        if scheme == "file":
            assert (tmp_path / "store" / "A.tar").exists() == (share > 0.5)
    assert ("nothing was changed there" if scheme == "file" else "it may be there") in told[0.1]
    assert "all of it is there, but was not compared" in told[0.9]


def stopped_upload(
    real: Callable[..., Any], stop: Callable[[int, int], None], *given: Any, **more: Any
) -> Any:
    return real(*given, **{**more, "progress": stop})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.tar",
        "https:",
        "ftp://host/a",
        "simplecache::s3://b/a",
        "https://[/a",
        "file:///a/",
        "s3://b/a/",
    ],
)
def test_what_is_no_url_of_a_store_is_refused(url: str, tar: Path) -> None:
    with pytest.raises(ToolError) as error:
        sending.upload(tar, url)
    assert error.value.code in {"url-unsupported", "remote-unreachable"}


def test_what_sealing_writes_beside_a_sealed_file_is_its_registration(tar: Path) -> None:
    info = sealed.inspect(tar)
    assert registration_of_file(info) == registration_file(registration_of(info))


@pytest.mark.parametrize("change", ["", "{}", '{"datasetId": "0x12"}'])
def test_a_registration_of_another_form_is_refused(change: str, tmp_path: Path, tar: Path) -> None:
    path = tmp_path / "a.registration.json"
    path.write_bytes(registration_file(registration_of(sealed.inspect(tar))))
    assert load_registration(path) == registration_of(sealed.inspect(tar))
    path.write_text(change)
    with pytest.raises(SealroomError) as error:
        load_registration(path)
    assert error.value.code in {"registration-malformed", "malformed"}


@pytest.mark.parametrize(
    "change",
    [{"dataset": "0x" + "12" * 32}, {"owner": "0x" + "0b" * 20}, {"name": "cohort-B"}, {"number": 0}],
    ids=lambda change: next(iter(change)),
)
def test_a_registration_whose_id_is_not_its_accounts_and_names_is_refused(
    change: dict[str, object], tmp_path: Path, tar: Path
) -> None:
    """CE-15: an id that stands for another dataset than the file names."""
    path = tmp_path / "a.registration.json"
    content = json.loads(registration_file(registration_of(sealed.inspect(tar))))
    path.write_text(json.dumps(content))
    assert load_registration(path)
    path.write_text(json.dumps(content | change))
    with pytest.raises(SealroomError) as error:
        load_registration(path)
    assert error.value.code == "registration-malformed"


def leads(request: BaseHTTPRequestHandler, to: str) -> None:
    """Answer with a redirect."""
    request.send_response(302)
    request.send_header("Location", to)
    request.send_header("Content-Length", "0")
    request.end_headers()
