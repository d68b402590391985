# SPDX-License-Identifier: Apache-2.0
"""What a run of `sealroom seal` leaves behind: all of it, or nothing, however it ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.agents.shell import environment, shell
from tests.agents.worked import fresh_platform, make_card, make_gate, render_recipe
from tests.patience import PATIENCE_S, until

from sealroom.keys import Secret
from sealroom.sealed import seal
from sealroom_agents.cli import datakey
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import disk_space, folder, staging
from sealroom_agents.owner.source import look, ready
from sealroom_agents.owner.staging import Outputs, Staging, recover

BIG_BYTES = 3 * 1024**3
"""Sparse: long enough to be interrupted, and never on the disk, which must have that much free even so."""
SEAL = "exec sealroom seal --owner hospital-A --in big --as opaque --name cohort-A --yes"
SEAL += " --simulated-root root.der"


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    """Places in two folders, as the command has them."""
    return Outputs(
        sealed=tmp_path / "sealed" / "a.tar",
        key=tmp_path / "keys" / "a.key",
        registration=tmp_path / "sealed" / "a.registration.json",
    )


def make(staging: Staging, text: str = "one") -> None:
    """Stand in for a seal: three small files."""
    staging.sealed.write_text(f"sealed {text}")
    staging.key.write_text(f"key {text}")
    staging.key.chmod(0o600)
    staging.registration.write_text(f"registration {text}")


def left(tmp_path: Path) -> list[str]:
    """All files below a folder."""
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


# --- three files or none ---------------------------------------------------------------------------


def test_all_three_appear_and_the_folder_goes(outputs: Outputs, tmp_path: Path) -> None:
    with Staging(outputs) as staging:
        make(staging)
        assert left(tmp_path) == [
            "keys/.a.key.sealing/data.key",
            *(f"sealed/.a.tar.sealing/{n}" for n in ("key-place", "registration.json", "sealed.tar")),
        ]
        staging.publish()
    assert left(tmp_path) == ["keys/a.key", "sealed/a.registration.json", "sealed/a.tar"]
    assert outputs.key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("which, code", [("key", "key-exists"), ("sealed", "output-exists")])
def test_a_file_that_appears_meanwhile_is_never_written_over(outputs: Outputs, which: str, code: str) -> None:
    theirs = getattr(outputs, which)
    with pytest.raises(ToolError) as refused, Staging(outputs) as staging:
        make(staging)
        theirs.write_text("theirs")
        staging.publish()
    assert refused.value.code == code
    assert theirs.read_text() == "theirs"
    assert [path for path in (outputs.key, outputs.sealed) if path.exists()] == [theirs]


def test_a_failure_leaves_nothing(outputs: Outputs, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Staging(outputs) as staging:
        make(staging)
        raise RuntimeError
    assert left(tmp_path) == []


def test_two_runs_at_one_time_do_not_mix(outputs: Outputs) -> None:
    with Staging(outputs):
        with pytest.raises(ToolError) as refused, Staging(outputs):
            pass
        assert refused.value.code == "already-sealing"


def killed(outputs: Outputs, before_death: Callable[[Staging], None]) -> None:
    """A run in a process of its own that dies without a word."""
    child = os.fork()
    if child == 0:
        try:
            staging = Staging(outputs)
            staging.__enter__()
            before_death(staging)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_what_a_killed_run_left_is_gone_with_the_next(outputs: Outputs, tmp_path: Path) -> None:
    """CE-04: the next run begins anew and takes nothing up."""
    killed(outputs, make)
    assert left(tmp_path) != []
    with Staging(outputs) as staging:
        assert not (staging.sealed.exists() or staging.key.exists() or staging.registration.exists())
        make(staging, "two")
        staging.publish()
    assert outputs.sealed.read_text() == "sealed two"


def test_a_key_that_a_killed_run_had_put_in_place_opens_nothing_and_goes(
    outputs: Outputs, tmp_path: Path
) -> None:
    def key_alone(staging: Staging) -> None:
        make(staging)
        outputs.key.write_text("key one")

    killed(outputs, key_alone)
    recover(outputs)
    assert left(tmp_path) == []


def test_a_key_of_another_run_stays(outputs: Outputs, tmp_path: Path) -> None:
    def other_key(staging: Staging) -> None:
        make(staging)
        outputs.key.write_text("key of another dataset")

    killed(outputs, other_key)
    recover(outputs)
    assert left(tmp_path) == ["keys/a.key"]


def test_the_key_of_a_sealed_file_that_stands_stays(outputs: Outputs, tmp_path: Path) -> None:
    def all_of_it(staging: Staging) -> None:
        make(staging)
        staging.publish()

    killed(outputs, all_of_it)
    recover(outputs)
    assert left(tmp_path) == ["keys/a.key", "sealed/a.registration.json", "sealed/a.tar"]


LATE = """
import fcntl, os, sys
from pathlib import Path
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.staging import Outputs, recover

outputs = Outputs(*map(Path, sys.argv[1:4]))


def pause(event, arguments):
    if event == "fcntl.flock":
        print("opened", flush=True)
        sys.stdin.readline()


sys.addaudithook(pause)
try:
    recover(outputs)
except ToolError as error:
    print(error.code)
"""
"""A run that has opened what a killed one left, and is slow to lock it."""


def test_a_run_that_was_slow_to_lock_what_was_left_takes_nothing_from_the_next(
    outputs: Outputs, tmp_path: Path
) -> None:
    """OP-03: another run cleared up and seals by then; its hidden folders and its key are its own."""
    killed(outputs, make)
    command = [sys.executable, "-c", LATE, *map(str, outputs.all)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as slow:
        assert slow.stdin is not None and slow.stdout is not None
        assert slow.stdout.readline() == "opened\n"
        with Staging(outputs) as staging:
            make(staging, "two")
            outputs.key.hardlink_to(staging.key)
            said, _ = slow.communicate("\n" * 9)
            assert said.split()[-1] == "already-sealing"
            outputs.key.unlink()
            staging.publish()
    assert left(tmp_path) == ["keys/a.key", "sealed/a.registration.json", "sealed/a.tar"]
    assert outputs.key.read_text() == "key two"


# --- the command itself ----------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A study card, and an input that takes a while."""
    platform = fresh_platform()
    recipe = render_recipe(tmp_path / "recipe")
    (tmp_path / "root.der").write_bytes(platform.root_der)
    (tmp_path / "study.json").write_bytes(make_card(make_gate(platform), recipe).encode())
    with (tmp_path / "big").open("wb") as stream:
        stream.truncate(BIG_BYTES)
    return tmp_path


def writes(pid: int, folder: Path) -> bool:
    """Whether a process has more than a megabyte in a file of the folder, which may have no name yet."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if os.readlink(descriptor).startswith(f"{folder}/") and descriptor.stat().st_size > 2**20:
                return True
    return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_and_can_be_run_again(desk: Path, how: signal.Signals) -> None:
    before = left(desk)
    workshop = desk / "sealed" / "hospital-A" / ".cohort-A.tar.sealing"
    process = subprocess.Popen(
        ["bash", "-c", SEAL], cwd=desk, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        until(lambda: writes(process.pid, workshop), process)
        process.send_signal(how)
        said = process.communicate(timeout=PATIENCE_S)[0].decode()
    finally:
        process.kill()
    if how == signal.SIGKILL:
        assert workshop.exists()
    else:
        assert process.returncode == 130, said
        assert said.endswith("error: stopped\n")
        assert left(desk) == before
    (desk / "big").write_bytes(b"small")
    done = shell(SEAL, desk)
    assert done.returncode == 0, done.stdout
    assert not workshop.exists()
    assert not (desk / "keys" / "hospital-A" / ".cohort-A.key.sealing").exists()


def test_too_little_room_is_said_before_anything_is_written(desk: Path) -> None:
    free = disk_space.free_at(desk)
    with (desk / "big").open("r+b") as stream:
        # Much more than anybody else makes room for meanwhile.
        stream.truncate(min(free + 2**36, 500 * 2**30))
    if free > 500 * 2**30:
        pytest.skip("more room than the largest dataset needs")
    before = left(desk)
    done = shell(SEAL, desk)
    assert done.returncode == 1
    assert "error: sealed/hospital-A/cohort-A.tar needs " in done.stdout
    assert "hint: make room, or write elsewhere" in done.stdout
    assert left(desk) == before


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 10 * 2**20 + 17])
def test_the_room_that_is_asked_for_is_enough_and_not_far_off(desk: Path, size: int) -> None:
    (desk / "big").write_bytes(bytes(size))
    assert shell(SEAL, desk).returncode == 0
    needed = (desk / "sealed" / "hospital-A" / "cohort-A.tar").stat().st_size
    assert needed <= disk_space.sealed_size(size, None) <= needed + 2**18


@pytest.mark.parametrize("count", [1, 1_000])
def test_the_room_of_a_table_grows_with_its_columns(tmp_path: Path, count: int) -> None:
    """AR-04: their names and types stand in the header, and the room is asked for before it is made."""
    source, target = tmp_path / "wide.parquet", tmp_path / "wide.tar"
    pq.write_table(pa.table({f"Größe {number} " + "x" * 40: [1.5] for number in range(count)}), source)
    found = look(source, kind=None, declared=None)
    needed = seal(source, target, recipient=None, owner="0x" + "a1" * 20, name="wide").sealed_size
    assert target.stat().st_size == needed
    assert needed <= disk_space.sealed_size(found.size, found.columns) <= needed + 2**18


def test_a_kill_at_any_step_leaves_no_sealed_file_without_its_key_and_can_be_mended(tmp_path: Path) -> None:
    """CE-04: a process is killed before each thing that it does to a file, and the next run copes."""
    for step in range(1, MOST_STEPS):
        desk = tmp_path / str(step)
        outputs = Outputs(desk / "sealed" / "a.tar", desk / "keys" / "a.key", desk / "sealed" / "a.json")
        if run_until(step, outputs):
            break
        if outputs.sealed.exists():
            assert outputs.key.read_text() == "key one"
        stands = outputs.sealed.exists()
        assert recover(outputs) is None
        assert outputs.sealed.exists() is stands
        assert left(desk / "keys") in ([], ["a.key"])
        assert stands or left(desk / "sealed") == []
        if outputs.key.exists():  # it is told, and a person removes it
            assert outputs.key.read_text() == "key one"
        else:
            with Staging(outputs) as staging:
                make(staging, "two")
                staging.publish()
            assert outputs.key.read_text() == "key two"
    else:
        raise AssertionError("the run never came to its end")
    assert step > 10


MOST_STEPS = 500


def run_until(step: int, outputs: Outputs) -> bool:
    """Seal in a process that dies before its `step`th act on a file; true when it came to its end."""
    child = os.fork()
    if child == 0:
        acts = 0

        def die(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal acts
            if event not in FILE_ACTS:
                return
            acts += 1
            if acts == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(die)
        with Staging(outputs) as staging:
            make(staging)
            staging.publish()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status == 0


FILE_ACTS = ("open", "os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree")
"""What Python reports before it is done (`sys.addaudithook`)."""


def test_a_key_that_a_killed_run_left_elsewhere_is_told(outputs: Outputs, tmp_path: Path) -> None:
    killed(outputs, make)
    elsewhere = replace(outputs, key=tmp_path / "others" / "a.key")
    assert recover(elsewhere) == outputs.key_workshop


@pytest.mark.parametrize("umask", [0o000, 0o777], ids=["open", "shut"])
def test_the_key_and_its_new_folders_are_for_their_owner_alone(tmp_path: Path, umask: int) -> None:
    """OP-03: whatever the umask is."""
    path = tmp_path / "keys" / "hospital-A" / "a.key"
    before = os.umask(umask)
    try:
        staging.private_folder(path.parent)
        datakey.create(path, Secret.generate(), owner="hospital-A", dataset="a")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(place.stat().st_mode) for place in (path, *path.parents[:2])]
    assert modes == [0o600, 0o700, 0o700]


# --- where a data key is ---------------------------------------------------------------------------

WATCHED = '''
import base64, os, stat, sys
from pathlib import Path

HERE, ACTS = Path.cwd(), {acts!r}
seen = {{"acts": 0, "keys": 0}}
busy = False


def look(event, arguments):
    """Before each act on a file: is a data key in any file that it must not be in?"""
    global busy
    if busy or event not in ACTS:
        return
    busy = True
    try:
        seen["acts"] += 1
        secret = None
        frame = sys._getframe(1)
        while frame is not None:
            for value in list(frame.f_locals.values()):
                if type(value).__name__ == "Secret" and len(value) == 32:
                    secret = value.reveal()
            frame = frame.f_back
        if secret is None:
            return
        seen["keys"] += 1
        forms = [secret, secret.hex().encode(), secret.hex().upper().encode()]
        forms += [base64.b64encode(secret).rstrip(b"="), base64.urlsafe_b64encode(secret).rstrip(b"=")]
        for folder, _, names in os.walk(HERE):
            for name in names:
                path = Path(folder, name)
                if any(form in path.read_bytes() for form in forms):
                    kept = path.relative_to(HERE).parts[0] == "keys"
                    mode = stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)
                    if not kept or mode != (0o600, 0o700):
                        os.write(2, f"a data key is in {{path}} {{mode}}\\n".encode())
                        os._exit(99)
    finally:
        busy = False


sys.addaudithook(look)
sys.argv[0] = "sealroom"
from sealroom_agents.cli import main
try:
    main()
finally:
    print("watched", seen["acts"], seen["keys"], file=sys.stderr)
'''
"""The real command, which looks at every file before each act on one: a kill would leave just that."""


@pytest.mark.parametrize(
    "places", ["", "--out out/A.tar --key-out keys/A.key"], ids=["usual-places", "places-of-choice"]
)
def test_no_file_outside_of_the_folder_for_keys_ever_holds_a_data_key(desk: Path, places: str) -> None:
    """OP-03: in no form and at no moment, while it is sealed, resealed and inspected, with any umask."""
    (desk / "big").write_bytes(os.urandom(3 * 2**20))
    (desk / "watched.py").write_text(WATCHED.format(acts=FILE_ACTS))
    sealed, key = ("out/A.tar", "keys/A.key") if places else (
        "sealed/hospital-A/cohort-A.tar",
        "keys/hospital-A/cohort-A.key",
    )  # fmt: skip
    commands = [
        f"umask 0; {SEAL.replace('exec sealroom', 'exec python watched.py')} {places}",
        f"exec python watched.py reseal {sealed} --key {key} --yes --simulated-root root.der",
        f"exec python watched.py reseal {sealed} --key {key} --yes --simulated-root root.der --out out/B.tar",
    ]
    for command in commands:
        done = shell(command, desk)
        assert done.returncode == 0, done.stdout
        acts, keys = (int(word) for word in done.stdout.split("watched ")[1].split())
        assert acts > keys > 0
    own = key.removeprefix("keys/")
    assert left(desk / "keys") == [own, str(Path(own).with_name("report-key.secret"))]


# --- what is made on the way -----------------------------------------------------------------------


def test_room_for_what_is_made_on_the_way_is_asked_for_too(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a").write_bytes(bytes(1000))
    source = look(tmp_path / "scans", kind="opaque", declared=())
    with ready(source, free=lambda _: source.size) as made:
        assert made.size <= source.size
    with (
        pytest.raises(ToolError) as refused,
        ready(source, free=lambda _: source.size - 1),
    ):
        pass
    assert refused.value.code == "no-space"


def test_plaintext_that_is_made_on_the_way_has_no_name(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a").write_bytes(b"plain")
    source = look(tmp_path / "scans", kind="opaque", declared=())
    with ready(source) as made:
        assert b"plain" in made.path.read_bytes()
        assert left(tmp_path) == ["scans/a"]


def pack(root: Path, names: dict[str, bytes], *, when: int, mode: int) -> bytes:
    """The tar of a folder with these files, of this age and mode."""
    for name, content in names.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        os.utime(path, (when, when))
    with (root.parent / f"{root.name}.tar").open("w+b") as stream:
        folder.pack(folder.listing(root), stream)
        stream.seek(0)
        return stream.read()


def test_a_folder_is_the_same_tar_whenever_and_whoever_made_it(tmp_path: Path) -> None:
    names = {"b/2": b"two", "b/10": b"ten", "a": b"", "ü" * 60 + "/long": b"long"}
    first = pack(tmp_path / "one", names, when=1, mode=0o600)
    turned = dict(reversed(names.items()))
    assert pack(tmp_path / "two", turned, when=2_000_000_000, mode=0o755) == first
    assert pack(tmp_path / "three", {**names, "a": b"!"}, when=1, mode=0o600) != first


def test_a_folder_with_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    assert folder.listing(tmp_path / "scans") == []
    os.mkfifo(tmp_path / "scans" / "pipe")
    with pytest.raises(ToolError) as refused:
        folder.listing(tmp_path / "scans")
    assert refused.value.code == "folder-unsupported"


def test_a_file_that_grows_while_its_folder_is_packed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a").write_bytes(b"one")
    entries = folder.listing(tmp_path / "scans")
    (tmp_path / "scans" / "a").write_bytes(b"two and more")
    with pytest.raises(ToolError) as refused, (tmp_path / "out").open("wb") as stream:
        folder.pack(entries, stream)
    assert refused.value.code == "source-changed"
