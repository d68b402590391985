# SPDX-License-Identifier: Apache-2.0
"""How the measured code asks a guest agent: version 1 first, version 0 where there is none, and nothing else
leads from one to the other. Answers are bounded, timed and read strictly."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.agents.test_platform_evidence import needs_recordings, recorded
from tests.patience import PATIENCE_S

from sealroom.encoding import sha256
from sealroom.errors import GuestError
from sealroom.keys import KeyInterface, public_key33, recover_kms_root
from sealroom.runtime import guest_rpc
from sealroom.runtime.guest_agent import Guest
from sealroom_agents.attestation.eventlog import read_event_log
from sealroom_agents.attestation.evidence import verify_evidence
from sealroom_agents.simulator import GuestAgent, Interfaces, SimulatedPlatform

COMPOSE = b'{"manifest_version":2,"name":"cardio-renal","runner":"docker-compose"}'
APP_ID = bytes(range(20))
PLATFORM = SimulatedPlatform(b"\x61" * 32)
REPORT_DATA = bytes(range(64))
NO_PAGE = b"<!DOCTYPE html><title>404 Not Found</title>"
NO_ROUTE = (
    b'{"error":{"code":404,"reason":"Not Found","description":"The requested resource could not be found."}}'
)
VERSION_1 = b'{"version":"0.6.0","rev":"x"}'


# --- both kinds of host ------------------------------------------------------------------------------


@contextmanager
def agent(folder: Path, interfaces: Interfaces, **options: Any) -> Iterator[tuple[Guest, list[str]]]:
    """A simulated agent, and the methods that it is asked, in order."""
    asked: list[str] = []
    made = GuestAgent(PLATFORM, COMPOSE, APP_ID, interfaces=interfaces, **options)

    def told(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def answer(request: Any) -> Any:
            asked.append(name)
            return method(request)

        return answer

    made.methods = {name: told(name, method) for name, method in made.methods.items()}
    with made.serve(folder / "g.sock") as running:
        yield Guest.connect(chain_id=31337, environment={}, simulator=running.path), asked


@pytest.mark.parametrize(
    ("interfaces", "methods"),
    [
        (Interfaces.V0, ["Info", "GetQuote"]),
        (Interfaces.V1, ["v1/Version", "v1/Info", "v1/Attest"]),
        (Interfaces.BOTH, ["v1/Version", "v1/Info", "v1/Attest"]),
    ],
)
def test_what_vouches_comes_from_version_1_where_there_is_one(
    tmp_path: Path, interfaces: Interfaces, methods: list[str]
) -> None:
    """AT-03: what comes from either convinces who verifies, of the same."""
    with agent(tmp_path, interfaces) as (guest, asked):
        info, quote = guest.info(), guest.quote(REPORT_DATA)
    assert asked == methods
    assert (info.app_id, info.compose, info.compose_hash) == (APP_ID, COMPOSE, sha256(COMPOSE))
    found = verify_evidence(
        quote.quote, quote.event_log, PLATFORM.collateral(NOW), trust=PLATFORM.trust(), now=NOW,
        report_data=REPORT_DATA,
    )  # fmt: skip
    assert (found.app_id, found.compose_hash) == (APP_ID, sha256(COMPOSE))
    assert found.report_data == REPORT_DATA


NOW = 1_780_000_000


def test_an_event_that_an_app_emitted_reaches_the_quote_and_decides_nothing(tmp_path: Path) -> None:
    """AT-16: as dstack 0.5 lets apps do; the claims stand before `system-ready`."""
    made = GuestAgent(PLATFORM, COMPOSE, APP_ID, interfaces=Interfaces.V0)
    with made.serve(tmp_path / "g.sock") as running:
        guest = Guest(running.path)
        before = guest.quote(REPORT_DATA)
        made.emit_event({"event": "mine", "payload": "00ff"})
        after = guest.quote(REPORT_DATA)
    logs = [read_event_log(one.event_log) for one in (before, after)]
    assert logs[0].replay(3) != logs[1].replay(3)
    assert logs[0].claims() == logs[1].claims()


@pytest.mark.parametrize("interfaces", [Interfaces.V0, Interfaces.BOTH])
def test_a_key_of_version_0_stays_what_it_is_when_the_agent_learns_version_1(
    tmp_path: Path, interfaces: Interfaces
) -> None:
    """AT-22: an upgrade of the host's image must not change a gate's identity."""
    with agent(tmp_path, interfaces) as (guest, asked):
        found = guest.key("a/path", "a purpose", KeyInterface.V0)
    expected = PLATFORM.kms.derive(APP_ID, path="a/path", purpose="a purpose")
    assert (found.key.reveal(), found.signature_chain) == (expected.key, expected.signature_chain)
    assert asked == ["GetKey"], "no other interface was asked, not even whether it is there"


@pytest.mark.parametrize("interfaces", [Interfaces.V1, Interfaces.BOTH])
def test_a_key_of_version_1_is_another_and_leads_to_the_same_root(
    tmp_path: Path, interfaces: Interfaces
) -> None:
    with agent(tmp_path, interfaces) as (guest, asked):
        found = guest.key("a/path", "a purpose", KeyInterface.V1)
    assert asked == ["v1/GetKey"]
    assert found.key.reveal() != PLATFORM.kms.derive(APP_ID, path="a/path", purpose="a purpose").key
    root = recover_kms_root(
        public_key33(found.key.reveal()), interface=KeyInterface.V1, name="a/path", purpose="",
        app_id=APP_ID, signature_chain=found.signature_chain,
    )  # fmt: skip
    assert root == PLATFORM.kms.root_public_key


@pytest.mark.parametrize(
    ("interfaces", "wanted"), [(Interfaces.V0, KeyInterface.V1), (Interfaces.V1, KeyInterface.V0)]
)
def test_an_agent_without_the_interface_of_a_key_gives_none(
    tmp_path: Path, interfaces: Interfaces, wanted: KeyInterface
) -> None:
    """AT-22: never another key than the one that was asked for."""
    with agent(tmp_path, interfaces) as (guest, _), pytest.raises(GuestError, match="GetKey") as caught:
        guest.key("a/path", "a purpose", wanted)
    assert caught.value.code == "guest-agent-failed"


# --- what is no reason to ask version 0 ---------------------------------------------------------------


class Scripted:
    """An agent that answers each method with given bytes; `asked` says what it was asked."""

    def __init__(self, folder: Path, answers: dict[str, bytes | None]) -> None:
        self.path = folder / "s.sock"
        self.asked: list[str] = []
        self._answers = answers
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Guest:
        return Guest.connect(chain_id=31337, environment={}, simulator=self.path)

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(PATIENCE_S)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (more := connection.recv(4096)):
                    head += more
                method = head.split(b" ")[1].decode().removeprefix("/")
                self.asked.append(method)
                answer = self._answers.get(method)
                if answer is None:
                    connection.recv(1)  # until the caller gives up
                    continue
                try:
                    connection.sendall(answer)
                except OSError:
                    continue  # the caller has read enough


def http(status: int, body: bytes, *, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n\r\n".encode() + body


OLD_INFO = http(200, json.dumps(GuestAgent(PLATFORM, COMPOSE, APP_ID).info({})).encode())


@pytest.mark.parametrize("page", [NO_PAGE, NO_ROUTE, b"", b"[]", b'{"error":"no such page"}'])
def test_a_server_without_version_1_is_asked_as_the_older_one_that_it_is(tmp_path: Path, page: bytes) -> None:
    scripted = Scripted(tmp_path, {"v1/Version": http(404, page), "Info": OLD_INFO})
    with scripted as guest:
        assert guest.info().compose == COMPOSE
        assert guest.info().app_id == APP_ID
    assert scripted.asked == ["v1/Version", "Info", "Info"], "whether there is one is asked once"


NOT_ABSENT = {
    "an error": http(500, b'{"error":"no"}'),
    "a refusal": http(400, b'{"error":"no"}'),
    "it forbids": http(403, NO_PAGE),
    "it has gone": http(410, NO_PAGE),
    "too large": http(413, b"{}"),
    "a redirection": b"HTTP/1.1 302 X\r\nLocation: /Info\r\nContent-Length: 0\r\n\r\n",
    "served, and lacks the method": http(404, b'{"error":"Service not found: Version"}'),
    "the same, as text": http(404, b"Service not found: Version"),
    "no HTTP": b"hello\r\n\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 404 Not",
    "half a body": http(404, b"<html>", length=700),
    "no JSON": http(200, b"<html>"),
    "no object": http(200, b"[]"),
    "no version": http(200, b"{}"),
    "a version that is none": http(200, b'{"version":7}'),
    "twice": http(200, b'{"version":"1","version":"2"}'),
    "too long": http(200, b'{"version":"1","rev":"' + b"x" * 70_000 + b'"}'),
    "a page that is too long": http(404, b"x" * 70_000),
    "an endless head": b"HTTP/1.1 200 X\r\n" + b"A: b\r\n" * 30_000,
    "an endless chunk": b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n" + b"x" * 200_000,
}


@pytest.mark.parametrize("answer", NOT_ABSENT.values(), ids=NOT_ABSENT.keys())
def test_no_other_answer_leads_to_version_0(tmp_path: Path, answer: bytes) -> None:
    """AT-22: who can break one answer does not choose the interface."""
    scripted = Scripted(tmp_path, {"v1/Version": answer, "Info": OLD_INFO, "GetQuote": OLD_INFO})
    with scripted as guest:
        for ask in (guest.info, lambda: guest.quote(REPORT_DATA)):
            with pytest.raises(GuestError) as caught:
                ask()
            assert caught.value.code == "guest-agent-failed"
    assert scripted.asked == ["v1/Version", "v1/Version"]


def test_an_agent_that_says_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AT-22: nor taken for an older one."""
    ask = guest_rpc.ask
    monkeypatch.setattr(
        "sealroom.runtime.guest_agent.ask", lambda *given, **more: ask(*given, **more, timeout=0.2)
    )
    scripted = Scripted(tmp_path, {"Info": OLD_INFO})
    with scripted as guest, pytest.raises(GuestError, match="v1/Version"):
        guest.info()
    assert scripted.asked == ["v1/Version"]


def test_an_agent_that_gives_one_byte_after_the_other_has_no_longer(tmp_path: Path) -> None:
    """AT-22: the deadline is for the whole exchange."""
    path = tmp_path / "t.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    ended = threading.Event()

    def trickle() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.sendall(b"HTTP/1.1 200 X\r\nA: ")
                while not ended.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                pass

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            guest_rpc.ask(path, "v1/Version", {}, limit=1000, timeout=0.5)
    finally:
        ended.set()
        listener.close()
        thread.join(PATIENCE_S)


@pytest.mark.parametrize("missing", ["v1/Info", "v1/Attest"])
def test_a_version_1_that_lacks_a_method_is_not_helped_out_by_version_0(tmp_path: Path, missing: str) -> None:
    scripted = Scripted(
        tmp_path,
        {
            "v1/Version": http(200, VERSION_1), "Info": OLD_INFO,
            missing: http(404, b'{"error":"Service not found: X"}'),
        },
    )  # fmt: skip
    with scripted as guest, pytest.raises(GuestError, match=missing):
        _ = guest.info() if missing == "v1/Info" else guest.quote(REPORT_DATA)
    assert scripted.asked == ["v1/Version", missing]


def test_a_recipe_that_is_not_the_one_that_is_named_is_refused(tmp_path: Path) -> None:
    told = {"app_id": APP_ID.hex(), "compose_hash": sha256(COMPOSE).hex(), "app_compose": "{}"}
    scripted = Scripted(
        tmp_path, {"v1/Version": http(200, VERSION_1), "v1/Info": http(200, json.dumps(told).encode())}
    )
    with scripted as guest, pytest.raises(GuestError) as caught:
        guest.info()
    assert caught.value.code == "compose-hash-mismatch"


def attested(**changes: Any) -> bytes:
    made = GuestAgent(PLATFORM, COMPOSE, APP_ID)
    answer = made.attest({"report_data": REPORT_DATA.hex()})
    return http(200, json.dumps(answer | changes).encode())


@pytest.mark.parametrize(
    "answer",
    [
        attested(attestation="00"),
        attested(attestation="zz"),
        attested(attestation="0x00"),
        attested(attestation=7),
        attested(attestation=""),
        attested(attestation="00" * (2 * 1024 * 1024 + 1)),
        http(200, json.dumps(GuestAgent(PLATFORM, COMPOSE, APP_ID).attest({"report_data": "00"})).encode()),
        http(200, b'{"boottime_gpu_evidence":[]}'),
        http(200, b"{}" + b" " * 5_000_000),
    ],
    ids=range(9),
)
def test_what_is_no_attestation_of_ours_is_refused(tmp_path: Path, answer: bytes) -> None:
    """AT-03, AT-31: also one that is for other report data than we asked for."""
    scripted = Scripted(tmp_path, {"v1/Version": http(200, VERSION_1), "v1/Attest": answer})
    with scripted as guest, pytest.raises(GuestError, match="v1/Attest") as caught:
        guest.quote(REPORT_DATA)
    assert caught.value.code == "guest-agent-failed"


@pytest.mark.parametrize(
    "answer",
    [
        http(500, b'{"error":"no"}'),
        http(200, b"[]"),
        http(200, b"{}"),
        http(200, b"{}" + b" " * 5_000_000),
        http(200, b'{"quote":"00","event_log":"[]","report_data":"00"}'),
        http(200, b'{"quote":"","event_log":"[]","report_data":"' + REPORT_DATA.hex().encode() + b'"}'),
        http(
            200,
            b'{"quote":"00","quote":"01","event_log":"[]","report_data":"'
            + REPORT_DATA.hex().encode()
            + b'"}',
        ),
        http(200, b'{"quote":7,"event_log":"[]","report_data":"' + REPORT_DATA.hex().encode() + b'"}'),
        b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=range(9),
)
def test_what_is_no_quote_of_version_0_is_refused(tmp_path: Path, answer: bytes) -> None:
    """AT-03, AT-22: dstack's own client reads it, over our exchange: bounded, strict, led nowhere."""
    scripted = Scripted(tmp_path, {"v1/Version": http(404, NO_PAGE), "GetQuote": answer})
    with scripted as guest, pytest.raises(GuestError, match="GetQuote") as caught:
        guest.quote(REPORT_DATA)
    assert caught.value.code == "guest-agent-failed"
    assert scripted.asked == ["v1/Version", "GetQuote"]


@pytest.mark.parametrize(
    "inner",
    [
        "",
        "[]",
        "null",
        "7",
        "[" * 5000,
        '{"app_compose":"a","app_compose":"b"}',
        '{"app_compose":7}',
        7,
        None,
        {},
    ],
    ids=lambda inner: str(inner)[:40],
)
def test_what_is_no_recipe_of_version_0_is_refused(tmp_path: Path, inner: Any) -> None:
    """AT-03: what stands as text within an answer is read as strictly as the answer."""
    whole = GuestAgent(PLATFORM, COMPOSE, APP_ID).info({})
    if isinstance(inner, str) and inner.startswith("{"):
        inner = whole["tcb_info"].replace("{", inner[:-1] + ",", 1)
    answer = http(200, json.dumps(whole | {"tcb_info": inner}).encode())
    scripted = Scripted(tmp_path, {"v1/Version": http(404, NO_PAGE), "Info": answer})
    with scripted as guest, pytest.raises(GuestError, match="Info") as caught:
        guest.info()
    assert caught.value.code == "guest-agent-failed"


@pytest.mark.parametrize(
    "change",
    [
        {"key": "00" * 32},
        {"key": "11" * 31},
        {"key": "0x" + "11" * 32},
        {"signature_chain": []},
        {"signature_chain": ["00" * 65]},
        {"signature_chain": ["00" * 65, "00" * 64]},
        {"signature_chain": ["00" * 65] * 3},
        {"signature_chain": [7, 7]},
        {"signature_chain": "00" * 65},
        {"public_key": "02" * 33},
        {"public_key": ""},
    ],
    ids=str,
)
def test_what_is_no_key_with_its_chain_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """AT-22: and what was in the answer is not told on."""
    whole = GuestAgent(PLATFORM, COMPOSE, APP_ID).get_key_v1({"domain": "a", "algorithm": "secp256k1"})
    answer = http(200, json.dumps(whole | change).encode())
    scripted = Scripted(tmp_path, {"v1/GetKey": answer, "GetKey": answer})
    with scripted as guest:
        for interface in KeyInterface:
            if interface is KeyInterface.V0 and "public_key" in change:
                continue
            with pytest.raises(GuestError) as caught:
                guest.key("a", "p", interface)
            assert caught.value.code == "guest-agent-failed"
            assert whole["key"] not in str(caught.value)
            assert caught.value.__cause__ is None


# --- recorded from real guests -----------------------------------------------------------------------

LITE = "dstack-0.6"


@needs_recordings
def test_what_a_real_guest_of_0_6_answered_is_read_from_both_interfaces(tmp_path: Path) -> None:
    """AT-03: `Attest` and `GetQuote` of one guest, with one quote."""
    old = json.loads(recorded(LITE, "tdx-lite-getquote.json"))
    bound = bytes.fromhex(old["report_data"])
    new = recorded(LITE, "tdx-lite-attestation.json")
    scripted = Scripted(tmp_path, {"v1/Version": http(200, VERSION_1), "v1/Attest": http(200, new)})
    with scripted as guest:
        first = guest.quote(bound)
    (tmp_path / "s.sock").unlink()
    scripted = Scripted(
        tmp_path, {"v1/Version": http(404, NO_PAGE), "GetQuote": http(200, json.dumps(old).encode())}
    )
    with scripted as guest:
        second = guest.quote(bound)
    assert first.quote == second.quote == bytes.fromhex(old["quote"])
    logs = [read_event_log(one.event_log) for one in (first, second)]
    assert logs[0].claims() == logs[1].claims()
    assert logs[0].replay(3) == logs[1].replay(3)
