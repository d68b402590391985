# SPDX-License-Identifier: Apache-2.0
"""What a host tells its enclave, and the way back to the runner: a real HTTP server plays the runner."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sealroom.errors import HostError
from sealroom.recipe.wrapped import HINTS_VARIABLE
from sealroom.runtime import host_link
from sealroom.runtime.command import main
from sealroom.runtime.hints import MAX_HINTS_BYTES, Hints
from sealroom.runtime.host_link import HostLink

GOOD: dict[str, Any] = {
    "version": 1,
    "run_id": "0x" + "1d" * 32,
    "consortium": "0x" + "C0" * 20,
    "chain_id": 1,
    "gate": "https://gate.example",
    "runner": "http://10.0.2.2:8402/v1/runs/abc",
    "datasets": {"hospital-A/cohort-A.tar": "https://bucket.example/a?sig=1"},
}


def written(folder: Path, told: Any) -> Path:
    path = folder / "hints.json"
    path.write_bytes(told if isinstance(told, bytes) else json.dumps(told).encode())
    return path


def test_good_hints_are_read(tmp_path: Path) -> None:
    hints = Hints.read(written(tmp_path, GOOD))
    assert (hints.run_id, hints.consortium, hints.chain_id) == (b"\x1d" * 32, "0x" + "c0" * 20, 1)
    assert hints.datasets == GOOD["datasets"] and hints.runner == GOOD["runner"]


@pytest.mark.parametrize(
    "told",
    [
        b"", b"[]", b"{", b"\xff", b'{"version": 1, "version": 1}', b" " * (MAX_HINTS_BYTES + 1),
        {key: GOOD[key] for key in GOOD if key != "gate"}, GOOD | {"more": 1}, GOOD | {"version": 2},
        GOOD | {"run_id": "0x12"}, GOOD | {"run_id": 7}, GOOD | {"consortium": "hospital"},
        GOOD | {"chain_id": True}, GOOD | {"chain_id": 0}, GOOD | {"chain_id": "1"},
        GOOD | {"gate": "file:///etc/passwd"}, GOOD | {"gate": "http://"}, GOOD | {"gate": "http://[::1"},
        GOOD | {"version": True}, GOOD | {"gate": "http://a /"}, GOOD | {"gate": "http://a\x7f/"},
        GOOD | {"gate": "http://a:99999/"}, GOOD | {"gate": "http://a:0/"}, GOOD | {"gate": "http://a..b/"},
        GOOD | {"runner": "http://a\r\nX: y/"}, GOOD | {"runner": f"http://{'a' * 300}/"},
        GOOD | {"runner": "http://xn--/"}, GOOD | {"runner": "http://é/"},
        GOOD | {"runner": ["http://a"]}, GOOD | {"runner": "http://a/" + "x" * 3000},
        GOOD | {"datasets": []}, GOOD | {"datasets": {"a/b.tar": "/etc/passwd"}},
        GOOD | {"datasets": {f"a/{n}.tar": "http://a" for n in range(65)}},
    ],
)  # fmt: skip
def test_other_hints_are_refused(tmp_path: Path, told: Any) -> None:
    """AT-21: whatever a host writes there."""
    with pytest.raises(HostError) as caught:
        Hints.read(written(tmp_path, told))
    assert caught.value.code == "hints-malformed"


def variable(told: Any) -> str:
    return base64.b64encode(told if isinstance(told, bytes) else json.dumps(told).encode()).decode()


def test_a_variable_says_the_same_as_a_file(tmp_path: Path) -> None:
    assert Hints.told(variable(GOOD)) == Hints.read(written(tmp_path, GOOD))
    full = json.dumps(GOOD).encode().ljust(MAX_HINTS_BYTES)
    assert Hints.told(variable(full)) == Hints.told(variable(GOOD))


@pytest.mark.parametrize(
    "text",
    [
        "", json.dumps(GOOD), variable(GOOD)[:-1], variable(GOOD) + "\n", variable(GOOD) + "ä", "====",
        variable(json.dumps(GOOD).encode().ljust(MAX_HINTS_BYTES + 1)), variable(GOOD | {"more": 1}),
        variable(GOOD | {"gate": "file:///etc/passwd"}), variable(b"\xff"),
    ],
)  # fmt: skip
def test_another_variable_is_refused(text: str) -> None:
    """AT-21: whatever is encrypted to the machine, by whomever."""
    with pytest.raises(HostError) as caught:
        Hints.told(text)
    assert caught.value.code == "hints-malformed"


def test_the_program_reads_the_variable_first_and_a_named_file_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(HINTS_VARIABLE, "no base64")
    assert main([]) == 78
    assert main(["--hints", str(tmp_path / "none.json")]) == 78
    said = [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()]
    assert "base64" in said[0] and "none.json" in said[1]


def test_without_hints_the_program_says_so_and_refuses_its_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A host that gave none has a folder there: docker makes one for a mount without a file."""
    (tmp_path / "hints.json").mkdir()
    assert main(["--hints", str(tmp_path / "hints.json")]) == 78
    assert main(["--hints", str(tmp_path / "none.json")]) == 78
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["code"] for line in lines] == ["hints-malformed"] * 2


class Runner:
    """Takes what an enclave sends, and answers as told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, bytes]] = []
        self.failing = 0
        """How many requests get a 503 first."""
        self.refusing: set[str] = set()
        self.files: dict[str, bytes] = {}
        runner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if runner.failing > 0:
                    runner.failing -= 1
                    status = 503
                elif self.path in runner.refusing:
                    status = 409
                else:
                    status = 200
                    runner.taken.append((self.command, self.path, body))
                self.send_response(status)
                self.send_header("Content-Length", str(2**40))  # never read
                self.end_headers()

            do_PUT = do_POST

            def do_GET(self) -> None:
                body = runner.files.get(self.path)
                self.send_response(404 if body is None or runner.failing > 0 else 200)
                runner.failing -= 1
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    monkeypatch.setattr(host_link, "PAUSE_SECONDS", 0.01)
    made = Runner()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_lines_outcome_and_status_come_in_order_and_once(runner: Runner, tmp_path: Path) -> None:
    """Also past a runner that is away for a while; an answer of any length is not read."""
    link = HostLink(runner.url + "/")
    link.begin()
    assert len(json.loads(runner.taken[0][2])["enclave"]) == 32
    runner.failing = 3
    link.report("attesting", composeHash="0x00")
    link.report("done")
    outcome = tmp_path / "envelope.json"
    outcome.write_bytes(b"{}")
    link.close(outcome, 0)
    assert [(method, path) for method, path, _ in runner.taken] == [
        ("POST", "/start"), ("POST", "/lines"), ("POST", "/lines"), ("PUT", "/envelope.json"),
        ("POST", "/exit"),
    ]  # fmt: skip
    assert json.loads(runner.taken[1][2]) == {
        "number": 1, "line": {"phase": "attesting", "composeHash": "0x00"},
    }  # fmt: skip
    assert runner.taken[3][2] == b"{}" and json.loads(runner.taken[4][2]) == {"status": 0}


def test_a_second_enclave_of_one_run_ends_before_it_asks_for_keys(runner: Runner) -> None:
    runner.refusing = {"/start"}
    link = HostLink(runner.url)
    with pytest.raises(HostError) as caught:
        link.begin()
    assert caught.value.code == "runner-refused"
    link.close(None, 78)
    assert [path for _, path, _ in runner.taken] == ["/exit"]


def test_a_runner_that_is_gone_holds_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Lines are dropped; the outcome has its time, and then the program ends."""
    monkeypatch.setattr(host_link, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(host_link, "LINE_SECONDS", 0.05)
    monkeypatch.setattr(host_link, "OUTCOME_SECONDS", 0.05)
    monkeypatch.setattr(host_link, "MAX_WAITING", 10)
    link = HostLink("http://127.0.0.1:9")
    for _ in range(50):
        link.report("renewed")
    link.close(None, 4)
    with pytest.raises(HostError):
        HostLink("http://127.0.0.1:9").begin()


def test_datasets_are_fetched_and_their_absence_has_a_code(runner: Runner, tmp_path: Path) -> None:
    runner.files = {"/a.tar": b"x" * 300_000}
    link = HostLink(runner.url)
    runner.failing = 2
    urls = {"hospital-A/a.tar": runner.url + "/a.tar", "hospital-B/b.tar": runner.url + "/none"}
    link.fetch(urls, tmp_path, ["hospital-A/a.tar"])
    assert (tmp_path / "hospital-A" / "a.tar").read_bytes() == b"x" * 300_000
    for path in ("hospital-B/b.tar", "hospital-C/c.tar"):
        with pytest.raises(HostError) as caught:
            link.fetch(urls, tmp_path, [path])
        assert caught.value.code == "dataset-unreachable" and path in caught.value.message
    (tmp_path / "hospital-A" / "a.tar").unlink()
    (tmp_path / "hospital-A" / "a.tar").mkdir()  # as if it could not be written
    with pytest.raises(HostError) as caught:
        link.fetch(urls, tmp_path, ["hospital-A/a.tar"])
    assert caught.value.code == "dataset-unreachable"
    link.close(None, 0)
