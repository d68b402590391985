# SPDX-License-Identifier: Apache-2.0
"""Sealed files fetched in ranges: on from where a run was stopped, and from servers that lie."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.agents.shell import environment
from tests.patience import PATIENCE_S, until
from tests.range_server import Answer, RangeServer

from sealroom import sealed
from sealroom.encoding import sha256
from sealroom.errors import SealroomError
from sealroom_agents.owner.registration import registration_file, registration_of
from sealroom_agents.owner.transfer import fetching, layout
from sealroom_agents.owner.transfer.fetching import Expected, Fetched
from sealroom_agents.owner.transfer.incoming import FIRST_BYTES
from sealroom_agents.owner.transfer.pace import Limits

PART = 2**16
STRETCH = 4 * (PART + 2048)
QUICK = Limits(tries=3, pause_s=0.001)


@pytest.fixture(scope="module")
def tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed file of forty parts."""
    folder = tmp_path_factory.mktemp("sealed")
    (folder / "plain").write_bytes(random.Random(7).randbytes(40 * PART - 1000))
    sealed.seal(
        folder / "plain",
        folder / "A.tar",
        recipient=None,
        owner="0x" + "0a" * 20,
        name="cohort-A",
        part_size=PART,
        media_type="application/octet-stream",
    )
    return folder / "A.tar"


@pytest.fixture(autouse=True)
def _many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "STRETCH_BYTES", STRETCH)


@pytest.fixture
def expected(tar: Path) -> Expected:
    """What was registered."""
    return Expected(registration=registration_of(sealed.inspect(tar)), digest=None)


@pytest.fixture
def server(tar: Path) -> Iterator[RangeServer]:
    with RangeServer.start(tar.read_bytes()) as made:
        yield made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where a fetched file goes: a folder of its own."""
    return tmp_path / "got" / "A.tar"


def kept(target: Path) -> Path:
    """Where what came is kept."""
    return target.with_name(f".{target.name}.fetching")


def refused(server: RangeServer, target: Path, expected: Expected, **options: object) -> SealroomError:
    """Why a fetch is refused. The target is not there."""
    with pytest.raises(SealroomError) as error:
        fetch(server, target, expected, **options)
    assert not target.exists()
    return error.value


def fetch(server: RangeServer, target: Path, expected: Expected, **options: object) -> Fetched:
    return fetching.fetch(server.url, target, expected=expected, **{"limits": QUICK, **options})  # type: ignore[arg-type]


def after(count: int, lie: Callable[[Answer], Answer | None]) -> Callable[[Answer], Answer | None]:
    """Lie from this request on, counted from 0. The first asks for the head, the second for the index."""
    return lambda answer: lie(answer) if answer.number >= count else answer


# --- on from where it was --------------------------------------------------------------------------


def test_each_byte_is_asked_for_once(
    server: RangeServer, tar: Path, target: Path, expected: Expected
) -> None:
    fetched = fetch(server, target, expected)
    assert target.read_bytes() == tar.read_bytes()
    assert list(target.parent.iterdir()) == [target] and fetched.resumed == 0
    assert target.stat().st_mode & 0o777 == 0o600
    # The part in which the first answer ends is asked for whole.
    assert server.given <= tar.stat().st_size + 2 * PART
    # Head and index, then stretches.
    assert len(server.asked) <= 2 + -(-tar.stat().st_size // (STRETCH - PART))


def test_what_came_before_the_line_broke_is_not_fetched_again(
    server: RangeServer, tar: Path, target: Path, expected: Expected
) -> None:
    server.lie = after(6, lambda answer: None)
    assert refused(server, target, expected).code == "remote-unreachable"
    assert [path.name for path in target.parent.iterdir()] == [".A.tar.fetching"]
    before, server.lie = server.given, lambda answer: answer
    server.forget()
    fetched = fetch(server, target, expected)
    assert target.read_bytes() == tar.read_bytes() and not kept(target).exists()
    assert fetched.resumed >= 3 * PART
    # The head, the index, and a part in which an answer ended, come again, and nothing else.
    assert server.given <= tar.stat().st_size - fetched.resumed + FIRST_BYTES + 2 * PART + 8192
    assert before + server.given <= tar.stat().st_size + 2 * (FIRST_BYTES + 2 * PART)


def test_a_killed_run_leaves_what_the_next_one_goes_on_with(
    server: RangeServer, tar: Path, target: Path
) -> None:
    """Both runs are the command, and the first is killed while it waits for a range."""
    held = threading.Event()

    def hold(answer: Answer) -> Answer | None:
        if answer.number >= 2 and answer.start > 20 * PART:
            held.wait(PATIENCE_S)
            return None
        return answer

    server.lie = hold
    registration = target.parent.parent / "A.registration.json"
    registration.write_bytes(registration_file(registration_of(sealed.inspect(tar))))
    script = (
        "import sys; from sealroom_agents.owner.transfer import layout; "
        "from sealroom_agents.cli import main; "
        f"layout.STRETCH_BYTES = {STRETCH}; main(sys.argv[1:])"
    )
    arguments = ["fetch", server.url, "--registration", str(registration), "--out", str(target), "--json"]
    command = [sys.executable, "-c", script, *arguments]
    run = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: max((start for start, _ in server.asked[2:]), default=0) > 20 * PART, run)
    until(lambda: kept(target).exists() and kept(target).stat().st_blocks * 512 > 10 * PART, run)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    assert not target.exists()
    held.set()
    server.lie = lambda answer: answer
    server.forget()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert target.read_bytes() == tar.read_bytes() and not kept(target).exists()
    assert told["resumed"] > 5 * PART
    assert server.given <= tar.stat().st_size - told["resumed"] + FIRST_BYTES + 2 * PART + 8192


def test_what_was_kept_is_compared_and_only_what_is_wrong_is_fetched(
    server: RangeServer, tar: Path, target: Path, expected: Expected
) -> None:
    target.parent.mkdir()
    wrong = bytearray(tar.read_bytes())
    wrong[30 * (PART + 1024)] ^= 1
    kept(target).write_bytes(wrong)
    fetched = fetch(server, target, expected)
    assert target.read_bytes() == tar.read_bytes()
    assert fetched.resumed == pytest.approx(39 * PART, rel=0.1)
    assert server.given < FIRST_BYTES + 3 * PART


def test_a_look_tells_what_lies_here_and_fetches_the_two_ends_alone(
    server: RangeServer, target: Path, expected: Expected, tar: Path
) -> None:
    target.parent.mkdir()
    content = bytearray(tar.read_bytes())
    content[content.index(b"parts/00003") + 600] ^= 1
    kept(target).write_bytes(content[: 10 * (PART + 2048)])
    before = kept(target).read_bytes()
    found = fetching.look(server.url, target, expected=expected, limits=QUICK)
    assert found.info is not None and found.size == tar.stat().st_size
    # Ten without the one that is broken.
    assert found.here == 9 and kept(target).read_bytes() == before
    assert fetch(server, target, expected).resumed == found.here_bytes
    target.unlink()
    assert list(target.parent.iterdir()) == []
    found = fetching.look(server.url, target, expected=expected, limits=QUICK)
    assert (found.here, found.here_bytes) == (0, 0) and list(target.parent.iterdir()) == []


@pytest.mark.parametrize("left", [b"", b"short", bytes(10**7)], ids=["nothing", "short", "long"])
def test_whatever_lies_there_does_no_harm(
    left: bytes, server: RangeServer, tar: Path, target: Path, expected: Expected
) -> None:
    target.parent.mkdir()
    kept(target).write_bytes(left)
    assert fetch(server, target, expected).resumed == 0
    assert target.read_bytes() == tar.read_bytes()


def test_a_file_that_has_another_name_too_is_never_written_into(
    server: RangeServer, tar: Path, target: Path, expected: Expected
) -> None:
    """A run that was killed after it gave its file the target's name leaves the hidden name beside it."""
    fetch(server, target, expected)
    elsewhere = target.with_name("moved.tar")
    target.rename(elsewhere)
    os.link(elsewhere, kept(target))
    server.lie = after(2, lambda answer: None)
    assert refused(server, target, expected).code == "remote-unreachable"
    assert elsewhere.read_bytes() == tar.read_bytes() and elsewhere.stat().st_nlink == 1


def test_a_link_in_the_place_of_what_is_kept_is_not_followed(
    server: RangeServer, target: Path, tmp_path: Path, expected: Expected
) -> None:
    """AR-01's like: somebody who may write in the folder does not choose where we write."""
    target.parent.mkdir()
    (tmp_path / "mine").write_bytes(b"mine")
    kept(target).symlink_to(tmp_path / "mine")
    with pytest.raises(OSError):
        fetch(server, target, expected)
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_with_a_digest_alone_parts_that_agree_with_a_lying_index_are_worth_nothing(
    server: RangeServer, tar: Path, target: Path
) -> None:
    by_digest = Expected(registration=None, digest=sha256(tar.read_bytes()))
    other = tar.with_name("B.tar")
    if not other.exists():
        (tar.parent / "other").write_bytes(random.Random(8).randbytes(20 * PART))
        sealed.seal(
            tar.parent / "other",
            other,
            recipient=None,
            owner="0x" + "0a" * 20,
            name="cohort-A",
            part_size=PART,
            media_type="application/octet-stream",
        )
    server.data = other.read_bytes()
    assert refused(server, target, by_digest).code == "remote-differs"
    assert list(target.parent.iterdir()) == []
    server.data = tar.read_bytes()
    fetch(server, target, by_digest)
    assert target.read_bytes() == tar.read_bytes()


# --- trouble that passes ---------------------------------------------------------------------------


def test_a_line_that_breaks_in_each_first_answer_costs_no_part_twice(
    server: RangeServer, tar: Path, target: Path, expected: Expected
) -> None:
    seen: set[int] = set()

    def broken(answer: Answer) -> Answer:
        stop = answer.start + len(answer.body)
        first, _ = stop not in seen, seen.add(stop)
        return replace(answer, stops_after=len(answer.body) // 2) if first else answer

    server.lie = broken
    fetch(server, target, expected)
    assert target.read_bytes() == tar.read_bytes()
    # Of each answer at most the part in which it broke, and half of head and index, came twice.
    assert server.given <= tar.stat().st_size + len(seen) * 2 * PART + FIRST_BYTES


def test_a_busy_store_is_asked_again_as_often_as_it_is_given_time(
    server: RangeServer, tar: Path, target: Path, expected: Expected
) -> None:
    busy = {"Content-Length": "0", "Retry-After": "0"}
    tries: dict[int, int] = {}

    def answer(answer: Answer) -> Answer:
        tries[answer.start] = tries.get(answer.start, 0) + 1
        if tries[answer.start] < QUICK.tries:
            return replace(answer, status=503, body=b"", headers=busy)
        return answer

    server.lie = answer
    fetch(server, target, expected)
    assert target.read_bytes() == tar.read_bytes()
    server.lie = lambda answer: replace(answer, status=503, body=b"", headers=busy)
    target.unlink()
    server.forget()
    assert refused(server, target, expected).message.endswith("answers 503")
    assert len(server.asked) == QUICK.tries


@pytest.mark.parametrize("wait", ["86400", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_store_that_wants_to_be_left_alone_for_a_day_is_not_waited_for(
    wait: str, server: RangeServer, target: Path, expected: Expected
) -> None:
    server.lie = lambda answer: replace(answer, status=429, body=b"", headers={"Retry-After": wait})
    assert refused(server, target, expected).message.endswith("answers 429")
    assert len(server.asked) == 1


def test_tries_of_a_whole_transfer_are_counted(server: RangeServer, target: Path, expected: Expected) -> None:
    """A store that answers each second request gets by on each range, and not for ever."""
    busy = {"Content-Length": "0", "Retry-After": "0"}
    server.lie = lambda answer: (
        answer if answer.number % 2 else replace(answer, status=503, body=b"", headers=busy)
    )
    few = replace(QUICK, tries_again=4)
    assert refused(server, target, expected, limits=few, parallel=1).message.endswith("answers 503")
    assert len(server.asked) <= 2 * 4 + 2


# --- lies ------------------------------------------------------------------------------------------


def endless(answer: Answer) -> None:
    """A body without an end, and without a length."""
    request = answer.request
    request.send_response(206)
    stop = answer.start + len(answer.body) - 1
    request.send_header("Content-Range", f"bytes {answer.start}-{stop}/{answer.total}")
    request.send_header("Connection", "close")
    request.end_headers()
    while True:
        request.wfile.write(answer.body)


LIES: dict[str, tuple[str, Callable[[Answer], Answer | None]]] = {
    "another range": (
        "remote-refused",
        lambda a: replace(a, headers={"Content-Range": f"bytes {a.start + 512}-{a.start + 1023}/{a.total}"}),
    ),
    "a longer range": (
        "remote-refused",
        lambda a: replace(a, headers={"Content-Range": f"bytes {a.start}-{a.total - 1}/{a.total}"}),
    ),
    "no range": ("remote-refused", lambda a: replace(a, headers={"Content-Range": "bytes"})),
    "many ranges": (
        "remote-refused",
        lambda a: replace(a, headers={"Content-Type": "multipart/byteranges; boundary=x"}),
    ),
    "a longer body": (
        "remote-refused",
        lambda a: replace(a, headers={"Content-Range": content_range(a)}, body=a.body + bytes(2000)),
    ),
    "an endless body": ("remote-refused", endless),
    "a compressed body": ("remote-refused", lambda a: replace(a, headers={"Content-Encoding": "gzip"})),
    "another file": ("remote-changed", lambda a: replace(a, tag='"two"')),
    "another length": ("remote-changed", lambda a: replace(a, total=a.total + 512)),
    "all of it": ("remote-changed", lambda a: replace(a, status=200)),
    "no such range": ("remote-changed", lambda a: replace(a, status=416, body=b"")),
    "no file any more": ("remote-refused", lambda a: replace(a, status=404, body=b"")),
    "a redirect": ("remote-refused", lambda a: replace(a, status=302, headers={"Location": "/B"}, body=b"")),
    "other bytes": ("part-altered", lambda a: replace(a, body=bytes([a.body[0]]) + a.body[:-1])),
    "zeros": ("archive-malformed", lambda a: replace(a, body=bytes(len(a.body)))),
}


def content_range(answer: Answer) -> str:
    """The honest one."""
    return f"bytes {answer.start}-{answer.start + len(answer.body) - 1}/{answer.total}"


@pytest.mark.parametrize("lie", LIES)
def test_a_range_that_is_not_the_one_that_was_asked_for_is_refused(
    lie: str, server: RangeServer, tar: Path, target: Path, expected: Expected
) -> None:
    code, told = LIES[lie]
    server.lie = after(4, told)
    error = refused(server, target, expected)
    assert error.code == code or (lie == "other bytes" and error.code == "archive-malformed")
    # What came before was compared, so it is kept; and the same fetch ends well once the server is honest.
    server.lie = lambda answer: answer
    assert fetch(server, target, expected).resumed > 0
    assert target.read_bytes() == tar.read_bytes()


@pytest.mark.parametrize(
    "lie", [name for name in LIES if name not in ("other bytes", "zeros", "another file")]
)
def test_the_first_answer_may_lie_as_little(
    lie: str, server: RangeServer, target: Path, expected: Expected
) -> None:
    server.lie = LIES[lie][1]
    assert refused(server, target, expected).code in {
        *("remote-refused", "remote-changed", "remote-unreachable", "archive-malformed"),
        *("archive-truncated", "redirect-refused", "remote-too-long", "header-malformed"),
    }
    assert list(target.parent.iterdir()) == []


def test_a_file_that_changes_on_the_server_is_not_mixed(
    server: RangeServer, tar: Path, target: Path, expected: Expected
) -> None:
    """An honest server: it answers `If-Range` with the whole of the other file."""

    def change(answer: Answer) -> Answer:
        if answer.number == 3:
            server.data, server.tag = bytes(len(server.data)), '"two"'
        return answer

    server.lie = change
    assert refused(server, target, expected).code == "remote-changed"
    # Now it has another file altogether, and what is kept stays for a better day.
    assert refused(server, target, expected).code == "archive-malformed"
    server.data = tar.read_bytes()
    assert fetch(server, target, expected).resumed > 0


@pytest.mark.parametrize("length", [0, 2**40])
def test_a_stated_length_that_the_header_does_not_allow_is_refused(
    length: int, server: RangeServer, target: Path, expected: Expected
) -> None:
    server.lie = lambda answer: replace(answer, total=length)
    assert refused(server, target, expected).code in {"remote-refused", "remote-too-long"}
    assert len(server.asked) <= QUICK.tries


def test_an_index_that_was_not_registered_is_refused_before_a_part_is_asked_for(
    server: RangeServer, target: Path, expected: Expected, tar: Path
) -> None:
    """CE-15."""
    data = tar.read_bytes()
    place = data.index(b'"keyCommitment":"0x') + 20
    server.data = data[:place] + (b"0" if data[place : place + 1] != b"0" else b"1") + data[place + 1 :]
    assert refused(server, target, expected).code == "remote-differs"
    assert len(server.asked) == 2 and list(target.parent.iterdir()) == []


def test_a_server_that_drips_is_given_up(server: RangeServer, target: Path, expected: Expected) -> None:
    """Each byte comes in time, and the file never would."""
    over = threading.Event()

    def drip(answer: Answer) -> None:
        answer.request.send_response(206)
        answer.request.send_header("Content-Range", content_range(answer))
        answer.request.send_header("Content-Length", str(len(answer.body)))
        answer.request.end_headers()
        for at in range(len(answer.body)):
            if over.wait(0.05):
                return
            answer.request.wfile.write(answer.body[at : at + 1])

    server.lie = after(2, drip)
    limits = Limits(tries=1, idle_s=2.0)
    assert refused(server, target, expected, limits=limits).code == "remote-unreachable"
    over.set()


@pytest.mark.parametrize("line", [b"x", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["headers", "100"])
@pytest.mark.parametrize("after_number", [0, 2])
def test_a_server_whose_answer_never_begins_is_given_up(
    line: bytes, after_number: int, server: RangeServer, target: Path, expected: Expected
) -> None:
    """What it sends comes in time, and is no answer."""
    over = threading.Event()

    def drip(answer: Answer) -> None:
        while not over.wait(0.05):
            answer.request.wfile.write(line)
            answer.request.wfile.flush()

    server.lie = after(after_number, drip)
    limits = Limits(tries=1, connect_s=1.0, idle_s=1.0)
    try:
        assert refused(server, target, expected, limits=limits).code == "remote-unreachable"
    finally:
        over.set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_a_file_of_another_that_lies_there_is_not_written_into(
    server: RangeServer, target: Path, expected: Expected
) -> None:
    """Who made it may have it open, and write into it once it was compared."""
    target.parent.mkdir()
    theirs = target.with_name(f".{target.name}.fetching")
    theirs.touch()
    os.chown(theirs, 4711, 4711)
    with theirs.open("r+b") as held:
        fetch(server, target, expected)
        assert not os.path.samestat(os.fstat(held.fileno()), target.stat())
        assert held.read() == b""
    assert target.stat().st_uid == 0


def test_a_stopped_run_says_how_to_go_on(server: RangeServer, tar: Path, target: Path) -> None:
    held = threading.Event()
    server.lie = after(1, lambda answer: held.wait(PATIENCE_S) and None)
    registration = target.parent.parent / "A.registration.json"
    registration.write_bytes(registration_file(registration_of(sealed.inspect(tar))))
    command = f"exec sealroom fetch {server.url} --registration {registration} --out {target}"
    run = subprocess.Popen(
        ["bash", "-c", command],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until(lambda: len(server.asked) >= 2, run)
    run.send_signal(signal.SIGTERM)
    told, _ = run.communicate(timeout=PATIENCE_S)
    held.set()
    assert run.returncode == 130
    assert told == "error: stopped\nhint: the same command goes on where this one was\n"
    assert not target.exists()
