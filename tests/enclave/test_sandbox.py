# SPDX-License-Identifier: Apache-2.0
"""The walls of the sandbox, each tried from inside next to the same line outside, where it works.

Nothing can leave the sandbox but a result, so each attempt reports by how the run ends: an attempt that is
refused lets the analysis go on to its good end, and one that works makes it crash.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import descriptors
from tests.enclave import surroundings
from tests.enclave.conftest import GOOD
from tests.patience import PATIENCE_S, until

from sealroom.errors import JobError
from sealroom.runtime import sandbox
from sealroom.runtime.channel import Channel
from sealroom.runtime.launcher import NICER, missing_walls
from sealroom.runtime.sandbox import Sandbox, Service

Run = Callable[..., dict[str, Any]]

MUST_FAIL = """
import ctypes, os, signal, socket, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(number_x86, number_arm, *arguments):
    number = number_x86 if os.uname().machine == "x86_64" else number_arm
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
def attempt():
    {attempt}
try:
    attempt()
except (OSError, subprocess.SubprocessError):
    pass
else:
    raise SystemExit("the wall has a hole")
"""


def attempt_inside(run: Run, line: str) -> None:
    """Run one line in the sandbox; passes only if the line was refused."""
    run(MUST_FAIL.format(attempt=line) + GOOD)


def attempt_outside(line: str) -> None:
    """The same line in an ordinary process, where it must work: otherwise the test would prove nothing."""
    script = MUST_FAIL.format(attempt=line)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert "the wall has a hole" in done.stderr, done.stderr


@pytest.fixture
def listener() -> Iterator[tuple[dict[str, int], list[bytes]]]:
    """A TCP and a UDP port on this machine, and what arrived there."""
    arrived: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        ports = {"TCP": int(tcp.getsockname()[1]), "UDP": int(udp.getsockname()[1])}

        def accept() -> None:
            while True:
                try:
                    peer, _ = tcp.accept()
                except OSError:
                    return
                arrived.append(b"connection")
                peer.close()

        def receive() -> None:
            while (row := udp.recv(100)) != OVER:
                arrived.append(row)

        both = [threading.Thread(target=each, daemon=True) for each in (accept, receive)]
        for thread in both:
            thread.start()
        yield ports, arrived
        tcp.shutdown(socket.SHUT_RDWR)
        udp.sendto(OVER, ("127.0.0.1", ports["UDP"]))
        for thread in both:
            thread.join(PATIENCE_S)


OVER = b"over"
"""The row with which a test ends its listener."""
NETWORK = {
    "TCP": 'socket.create_connection(("127.0.0.1", {port}), timeout=5)',
    "UDP": 'socket.socket(type=socket.SOCK_DGRAM).sendto(b"row", ("127.0.0.1", {port}))',
    "IPv6": "socket.socket(socket.AF_INET6)",
    "a listening port": 'socket.create_server(("127.0.0.1", 0))',
    "a unix socket": "socket.socket(socket.AF_UNIX)",
    "a socket pair": "socket.socketpair()",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "a name server": 'socket.getaddrinfo("localhost", {port})',
    "a raw system call": "call(41, 198, 2, 1, 0)",
}


@pytest.mark.parametrize("way", NETWORK)
def test_no_way_to_the_network(
    way: str, run_analysis: Run, listener: tuple[dict[str, int], list[bytes]]
) -> None:
    """OU-05."""
    ports, arrived = listener
    line = NETWORK[way].format(port=ports["UDP" if way == "UDP" else "TCP"])
    attempt_outside(line)
    if way in ("TCP", "UDP"):
        until(lambda: arrived)
    arrived.clear()
    if way == "a name server":
        # a kernel without Landlock answers from a file: that nothing arrived is what counts
        line = f"import contextlib\nwith contextlib.suppress(OSError):\n    {line}\n"
        run_analysis("import socket\n" + line + GOOD)
    else:
        attempt_inside(run_analysis, line)
    assert arrived == []


OTHER_WALLS = {
    "writing a file": 'open("{folder}/out", "w")',
    "appending to a file": 'open("{folder}/there", "a")',
    "a temporary file": "import tempfile; tempfile.TemporaryFile().write(b'x')",
    "making a folder": 'os.mkdir("{folder}/new")',
    "renaming a file": 'os.rename("{folder}/there", "{folder}/renamed")',
    "deleting a file": 'os.unlink("{folder}/there")',
    "an ioctl": "import fcntl; fcntl.ioctl(os.open('{folder}/kept', os.O_RDONLY), 0x541B, bytes(4))",
    "touching a file": 'os.utime("{folder}/kept")',
    "a fifo": 'os.mkfifo("{folder}/fifo")',
    "anonymous memory files": 'os.memfd_create("x")',
    "another program": 'subprocess.run(["true"], check=True)',
    "a fork": "os.fork()",
    "a signal to its parent": "os.kill({parent}, 0)",
    "a new user namespace": "call(272, 97, 0x10000000)",
    "io_uring": "call(425, 425, 8, ctypes.create_string_buffer(256))",
    "SysV shared memory": "call(29, 194, 0, 4096, 0o1600)",
}


@pytest.mark.parametrize("way", OTHER_WALLS)
def test_no_way_to_files_or_processes(way: str, run_analysis: Run, tmp_path: Path) -> None:
    """OU-04, OU-11, OP-02."""
    (tmp_path / "there").write_text("before")
    (tmp_path / "kept").write_text("before")
    line = OTHER_WALLS[way].format(folder=tmp_path, parent=os.getpid())
    if way not in {"io_uring", "a new user namespace"}:  # which an ordinary machine may switch off altogether
        attempt_outside(line)
        (tmp_path / "there").write_text("before")
    left = sorted(path.name for path in tmp_path.iterdir())
    attempt_inside(run_analysis, line)
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    assert (tmp_path / "there").read_text() == "before"


def test_an_attempt_that_works_is_noticed(run_analysis: Run) -> None:
    """The twin of every refusal in this file: its standard input can be read, and the test says so."""
    with pytest.raises(JobError) as caught:
        attempt_inside(run_analysis, "os.read(0, 1)")
    assert caught.value.code == "job-failed"


def test_what_an_analysis_needs_works_inside(run_analysis: Run) -> None:
    """Threads, time zones and computing."""
    run_analysis(
        "import threading\nimport zoneinfo\n"
        "worker = threading.Thread(target=zoneinfo.ZoneInfo, args=('UTC',))\nworker.start()\nworker.join()\n"
        + GOOD
    )


def test_the_environment_is_empty(run_analysis: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """OP-03."""
    monkeypatch.setenv("SEALROOM_TEST_SECRET", "in the environment")
    check = "import os\nif 'SEALROOM_TEST_SECRET' in os.environ:\n    raise SystemExit('seen')\n"
    run_analysis(check + GOOD)
    with Sandbox.start() as job:
        job.ready()
        assert b"SECRET" not in Path(f"/proc/{job.pid}/environ").read_bytes()
        assert Path(f"/proc/{job.pid}/cmdline").read_bytes() == b""


def test_the_memory_of_the_custodian_cannot_be_read(run_analysis: Run) -> None:
    """OP-01: the process that holds the keys is out of reach, even for the same user."""
    attempt_inside(run_analysis, f'open("/proc/{os.getpid()}/mem", "rb").read(1)')


def test_no_core_is_left_and_no_debugger_can_attach() -> None:
    """OP-02, read from the kernel's own account of the child."""
    with Sandbox.start() as job:
        job.ready()
        limits = Path(f"/proc/{job.pid}/limits").read_text()
        assert "Max core file size        0                    0" in limits
        assert "Max file size             0                    0" in limits
        status = Path(f"/proc/{job.pid}/status").read_text()
        assert "Seccomp:\t2" in status and "CapEff:\t0000000000000000" in status
        assert Path(f"/proc/{job.pid}/maps").stat().st_uid == 0  # not dumpable: its entries are root's


def test_a_process_that_is_not_shut_in_is_told_from_one_that_is() -> None:
    """Fails closed: the launcher goes by the kernel's account, not by the job's own word."""
    with Sandbox.start() as job:
        job.ready()
        job.verify(filters=1)
        with pytest.raises(JobError) as caught:
            job.verify(filters=2)  # it is not sealed yet
    assert caught.value.code == "sandbox-unavailable"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        missing = missing_walls(process.pid, filters=1, inner=True)
        process.kill()
    assert {"NoNewPrivs", "Seccomp", "Seccomp_filters", "NSpid"} <= set(missing)
    assert missing_walls(process.pid, filters=1, inner=False) == ["its threads"]


ANNOUNCE = """
import resource, socket, struct
from sealroom.errors import JobError
from sealroom.runtime.channel import Channel
ours, theirs = socket.socketpair()
theirs.sendall(struct.pack(">IQ", 2, {size}) + b"{{}}" + b"a part of it")
theirs.close()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    Channel(ours).receive(check=lambda head, size: None)
except JobError as error:
    print(error.code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_payload_that_is_announced_and_never_comes_takes_no_memory() -> None:
    """OP-09: nor does it stop the lease's clock, as one long write of zeros in Python would."""
    size = 2**30
    done = subprocess.run(
        [sys.executable, "-c", ANNOUNCE.format(size=size)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    code, grown = done.stdout.split()
    assert code == "channel-closed"
    assert int(grown) * 1024 < size / 4


def test_a_table_that_the_machine_could_not_work_on_is_refused_unread(run_analysis: Run) -> None:
    """OU-06: a custodian out of memory would end at a time that the script chose."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    announce = """
import json, os, struct
from sealroom.runtime import job
head = json.dumps({"op": "release"}).encode()
os.write(job._session._channel._end.fileno(), struct.pack(">IQ", len(head), SIZE) + head)
job._session._channel.receive()
"""
    with pytest.raises(JobError) as caught:
        run_analysis(announce.replace("SIZE", str(memory // 8)))
    assert caught.value.code == "request-too-large"


def niceness(pid: int | str) -> list[int]:
    """Of each thread, by the kernel's account."""
    stats = []
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # a thread that ends meanwhile
            stats.append(path.read_text())
    return [int(stat.rpartition(")")[2].split()[16]) for stat in stats]


THREADS = """
import threading
stay = threading.Event()
for _ in range(3):
    threading.Thread(target=stay.wait, daemon=True).start()
"""


def test_a_job_gives_way_to_its_custodian_and_all_its_threads_do() -> None:
    """OU-06: a job that keeps every processor busy must not choose when the custodian signs."""
    (own,) = set(niceness("self"))
    with Sandbox.start() as job:
        job.ready()
        before = niceness(job.pid)
        job.begin({"analysis": THREADS + GOOD, "unit": "id", "fields": {}, "groups": {}})
        Channel(job.channel).receive()  # it asks: its threads are there
        assert len(niceness(job.pid)) == len(before) + 3
        assert set(before) == set(niceness(job.pid)) == {min(own + NICER, 19)}
    assert set(niceness("self")) == {own}


def test_a_killed_sandbox_is_gone_at_once() -> None:
    with Sandbox.start() as job:
        job.ready()
        job.kill()
        assert not Path(f"/proc/{job.pid}").exists()


def test_a_job_dies_with_its_custodian() -> None:
    """OP-10: also when that one is killed and can say nothing any more."""
    start = (
        "import sys\nfrom sealroom.runtime.sandbox import Sandbox\n"
        "sandbox = Sandbox.start()\nsandbox.ready()\nprint(sandbox.pid, flush=True)\nsys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", start], stdin=pipe, stdout=pipe, text=True) as custodian:
        assert custodian.stdout is not None
        pid = int(custodian.stdout.readline())
        custodian.kill()
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Service, subprocess.Popen[bytes]]]:
    """The service `job` as a runner starts it, and a custodian's connection to it."""
    command = [sys.executable, "-I", "-B", "-m", "sealroom", "job", str(tmp_path)]
    with subprocess.Popen(command, env={}, umask=0o077) as process:
        try:
            with Service(tmp_path) as connection:
                yield connection, process
        finally:
            process.kill()


def test_jobs_of_the_service_are_shut_in_alike_and_apart(
    service: tuple[Service, subprocess.Popen[bytes]],
) -> None:
    """The second service of a recipe: same launcher, same walls, one connection a job."""
    connection, process = service
    with Sandbox.start(service=connection) as one, Sandbox.start(service=connection) as other:
        walls = one.ready()
        assert other.ready() == walls
        assert set(niceness(one.pid)) == {min(niceness(process.pid)[0] + NICER, 19)}
        with Sandbox.start() as own:
            assert own.ready() == walls
        owners = [re.findall("Uid:.*", Path(f"/proc/{job.pid}/status").read_text()) for job in (one, other)]
        assert walls.uid == "shared" or owners[0] != owners[1]
        one.kill()
        assert not Path(f"/proc/{one.pid}").exists()
        one.close()
        one.kill()  # DP-23: as another thread may that did not see it end, at a time that the job chose
        other.verify(filters=1)
    assert process.poll() is None


def test_the_service_ends_with_its_custodian_and_takes_its_jobs_along(
    service: tuple[Service, subprocess.Popen[bytes]],
) -> None:
    connection, process = service
    with Sandbox.start(service=connection) as job:
        job.ready()
        pid = job.pid
        connection.__exit__()
        assert process.wait(PATIENCE_S) == 0
        with pytest.raises(JobError) as caught:
            Sandbox.start(service=connection)
        assert caught.value.code == "sandbox-unavailable"
    assert not Path(f"/proc/{pid}").exists()


def test_without_its_service_a_custodian_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails closed: in a confidential VM no job runs beside the keys because the service is missing."""
    monkeypatch.setattr(sandbox, "JOIN_SECONDS", 0.1)
    with pytest.raises(JobError) as caught:
        Service(tmp_path)
    assert caught.value.code == "sandbox-unavailable"


WALLS = {
    "root": {"namespaces": "root", "root": "empty", "uid": "own"},
    "user": {"namespaces": "user", "root": "empty", "uid": "shared"},
    "no Landlock": {"namespaces": "root", "root": "empty", "uid": "own", "landlock": 0},
    "no namespaces": {"namespaces": "none", "root": "machine", "uid": "shared"},
    "filter alone": {"namespaces": "none", "root": "machine", "uid": "shared", "landlock": 0},
}


@pytest.mark.skipif(os.getuid() != 0, reason="the places are made with root's privilege")
@pytest.mark.parametrize("place", WALLS)
def test_the_walls_that_a_place_grants_stand_and_are_told(place: str) -> None:
    start = (
        "import dataclasses, json\nfrom sealroom.runtime.sandbox import Sandbox\n"
        "with Sandbox.start() as sandbox:\n    print(json.dumps(dataclasses.asdict(sandbox.ready())))\n"
    )
    done = subprocess.run(
        [sys.executable, surroundings.__file__, place, sys.executable, "-c", start],
        capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found == found | WALLS[place]
    assert found["threads"] >= 256 and found["memory_bytes"] > 0


@pytest.mark.skipif(os.getuid() != 0, reason="the places are made with root's privilege")
def test_without_the_filter_there_is_no_job() -> None:
    """Fails closed: a kernel that takes no filter gets no analysis."""
    start = (
        "import sys\nsys.path.insert(0, sys.argv[1])\nimport surroundings\n"
        "from sealroom.errors import JobError\nfrom sealroom.runtime.sandbox import Sandbox\n"
        "surroundings.refuse([surroundings.SECCOMP], 38)\n"
        "with Sandbox.start() as sandbox:\n"
        "    try:\n        sandbox.ready()\n    except JobError as error:\n        print(error.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", start, str(Path(surroundings.__file__).parent)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "sandbox-unavailable"


def test_a_custodian_may_hold_many_descriptors() -> None:
    """OU-06: the launcher inherits its connection under the number that it has here."""
    with descriptors.many(), Sandbox.start() as sandbox:
        assert sandbox.ready().threads > 0
