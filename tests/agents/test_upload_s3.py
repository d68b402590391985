# SPDX-License-Identifier: Apache-2.0
"""Sealed files sent to a server that speaks S3, in parts: stopped, cut off, changed, and gone on with."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agents.shell import environment
from tests.patience import PATIENCE_S, until
from tests.s3_server import S3Server

from sealroom import sealed
from sealroom.encoding import sha256
from sealroom.errors import SealroomError
from sealroom_agents.owner.registration import registration_of
from sealroom_agents.owner.transfer import ahead, fetching, s3, s3_parts, sending
from sealroom_agents.owner.transfer.ahead import There
from sealroom_agents.owner.transfer.fetching import Expected
from sealroom_agents.owner.transfer.notes import Notes, Upload
from sealroom_agents.owner.transfer.pace import Limits, Patience

MIB = 2**20
PART = 5 * MIB
"""The smallest that S3 takes, so that few bytes are enough."""
SIZE = 6 * PART - 2 * MIB
COMMAND = (
    "import sys; from sealroom_agents.cli import main; from sealroom_agents.owner.transfer import s3_parts; "
    f"s3_parts.MIN_PART_BYTES = {PART}; main(sys.argv[1:])"
)
QUICK = Limits(tries=3, pause_s=0.001)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server.start() as made, made.named():
        yield made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed file that is sent in six parts."""
    folder = tmp_path_factory.mktemp("sealed")
    return sealed_file(folder / "A.tar", SIZE, 7)


def sealed_file(target: Path, size: int, seed: int) -> Path:
    plain = target.with_suffix(".plain")
    plain.write_bytes(random.Random(seed).randbytes(size))
    sealed.seal(
        plain,
        target,
        recipient=None,
        owner="0x" + "0a" * 20,
        name="cohort-A",
        media_type="application/octet-stream",
    )
    plain.unlink()
    return target


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_parts, "MIN_PART_BYTES", PART)


@pytest.fixture
def tar(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, in a folder of its own."""
    mine = tmp_path / "A.tar"
    mine.write_bytes(whole.read_bytes())
    return mine


@pytest.fixture
def url(server: S3Server) -> str:
    """Where nothing is."""
    return f"{server.place()}/A.tar"


def asked(url: str, work: Callable[[s3.Bucket], Any]) -> Any:
    """Ask the store something, as it is."""

    async def main() -> Any:
        async with s3.bucket_at(url, url, Patience(QUICK), 1) as bucket:
            return await work(bucket)

    return asyncio.run(main())


def pending(url: str) -> list[str]:
    """Uploads to this key that are not completed."""

    async def work(bucket: s3.Bucket) -> list[str]:
        answer = await bucket._store._call_s3(
            "list_multipart_uploads", Bucket=bucket._where["Bucket"], Prefix=bucket._where["Key"]
        )
        return [each["UploadId"] for each in answer.get("Uploads", [])]

    return list(asked(url, work))


def is_there(url: str) -> bool:
    return bool(asked(url, s3_parts._is_there))


def notes(tar: Path) -> list[Path]:
    return list(tar.parent.glob(f".{tar.name}.*.sending"))


def comes_back(url: str, tar: Path) -> bool:
    """Whether what lies there is what was sent, byte for byte."""
    target = tar.with_name("back.tar")
    expected = Expected(registration=registration_of(sealed.inspect(tar)), digest=None)
    fetching.fetch(url, target, expected=expected)
    same = target.read_bytes() == tar.read_bytes()
    target.unlink()
    return same


def refused(tar: Path, url: str, **options: Any) -> str:
    with pytest.raises(SealroomError) as error:
        sending.upload(tar, url, limits=QUICK, **options)
    return error.value.code


def test_a_file_of_many_parts_goes_and_comes_back(tar: Path, url: str, server: S3Server) -> None:
    told: list[tuple[int, int]] = []
    sent = sending.upload(tar, url, progress=lambda done, total: told.append((done, total)))
    assert sent.read_back and sent.resumed == 0 and sent.digest == sha256(tar.read_bytes())
    # One bar for both ways, which never goes back.
    assert told[-1] == (2 * tar.stat().st_size, 2 * tar.stat().st_size)
    assert told == sorted(told)
    assert comes_back(url, tar) and pending(url) == [] and notes(tar) == []
    assert asked(url, lambda bucket: bucket.call("head_object"))["ETag"].endswith('-6"')


def test_a_file_of_one_part_is_one_call(url: str, tmp_path: Path) -> None:
    small = sealed_file(tmp_path / "A.tar", 3 * MIB, 8)
    sending.upload(small, url)
    assert comes_back(url, small) and notes(small) == []
    assert refused(small, url) == "remote-exists"
    sending.upload(small, url, overwrite=True)


def test_the_largest_file_has_parts_that_every_store_takes() -> None:
    """Of AWS: 5 MiB to 5 GiB, at most 10,000."""
    for size in (17 * MIB, 100 * 2**30, 513 * 2**30):
        part = s3_parts.part_bytes(size)
        assert 5 * MIB <= part <= 5 * 2**30 and -(-size // part) <= 10_000


def test_a_killed_upload_goes_on_where_it_was(tar: Path, url: str, server: S3Server) -> None:
    """Both runs are the command. The first is killed while the line is held."""
    command = [sys.executable, "-c", COMMAND]
    command += ["upload", str(tar), url, "--yes", "--json", "--parallel", "2"]
    settings = {**environment(), **server.environment()}
    run = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: any(path.read_bytes().count(b"\n") >= 2 for path in notes(tar)), run)
    server.line.hold()
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    server.line.cut()
    server.line.mend()
    assert not is_there(url) and len(pending(url)) == 1
    server.line.sent = 0
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    resumed = json.loads(done.stdout)["resumed"]
    assert resumed >= PART
    # What the store had was not sent again: requests and their heads are the rest.
    assert server.line.sent <= tar.stat().st_size - resumed + 200_000
    assert pending(url) == [] and notes(tar) == [] and comes_back(url, tar)


def test_a_line_that_is_cut_leaves_an_upload_to_go_on_with(tar: Path, url: str, server: S3Server) -> None:
    def cut(done: int, total: int) -> None:
        if done >= 2 * PART:
            server.line.cut()

    try:
        assert refused(tar, url, progress=cut, parallel=1) == "remote-unreachable"
    finally:
        server.line.mend()
    assert len(notes(tar)) == 1 and len(pending(url)) == 1 and not is_there(url)
    server.line.sent = 0
    assert sending.upload(tar, url).resumed == 2 * PART
    assert server.line.sent <= tar.stat().st_size - 2 * PART + 200_000
    assert comes_back(url, tar)


@pytest.fixture
def stopped(tar: Path, url: str) -> Path:
    """The notes of an upload that was stopped after two parts."""

    def stop(done: int, total: int) -> None:
        if done >= 2 * PART:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sending.upload(tar, url, progress=stop, parallel=1)
    (path,) = notes(tar)
    assert len(pending(url)) == 1
    return path


def test_what_the_store_has_of_a_run_before_is_told_and_nothing_is_changed(
    stopped: Path, tar: Path, url: str
) -> None:
    before, uploads = stopped.read_bytes(), pending(url)
    found = ahead.look(tar, url, overwrite=False, whole=True, limits=QUICK)
    assert found.there == There(known=True, size=None, parts=6, begun=2, begun_bytes=2 * PART)
    assert found.digest == sha256(tar.read_bytes())
    with Notes(tar, url), pytest.raises(SealroomError) as error:
        ahead.look(tar, url, overwrite=False, whole=False, limits=QUICK)
    assert error.value.code == "already-sending"
    # Of another file: the next run gives it up, and the look leaves it.
    other = sealed_file(tar.with_name("B.tar"), SIZE, 9)
    tar.write_bytes(other.read_bytes())
    assert ahead.look(tar, url, overwrite=False, whole=False, limits=QUICK).there == There(True, None, 6)
    assert (stopped.read_bytes(), pending(url)) == (before, uploads)
    assert sending.upload(tar, url).resumed == 0 and pending(url) == []
    with pytest.raises(SealroomError) as error:
        ahead.look(tar, url, overwrite=False, whole=False, limits=QUICK)
    assert error.value.code == "remote-exists"
    assert ahead.look(tar, url, overwrite=True, whole=False, limits=QUICK).there.size == tar.stat().st_size


def test_a_part_is_believed_only_with_the_tag_that_the_store_gave_us(
    stopped: Path, tar: Path, url: str
) -> None:
    """Another part under that number, in the store or in the notes, is sent again."""
    lines = stopped.read_text().splitlines()
    part = json.loads(lines[1])
    part["answers"]["ETag"] = '"' + "0" * 32 + '"'
    stopped.write_text("\n".join([lines[0], json.dumps(part), *lines[2:]]) + "\n")
    resumed = sending.upload(tar, url).resumed
    assert resumed == (len(lines) - 2) * PART
    assert comes_back(url, tar)


def test_a_part_that_was_changed_at_the_store_is_sent_again(stopped: Path, tar: Path, url: str) -> None:
    lines = stopped.read_text().splitlines()
    upload = json.loads(lines[0])["id"]
    asked(url, lambda b: b.call("upload_part", UploadId=upload, PartNumber=1, body=bytes(PART)))
    assert sending.upload(tar, url).resumed == (len(lines) - 2) * PART
    assert comes_back(url, tar)


@pytest.mark.parametrize(
    "change", ["", "{}\n", "\x00\xff", '{"version": 1, "file": 3}\n', "[" * 10**5 + "\n"]
)
def test_notes_that_are_none_begin_anew(change: str, stopped: Path, tar: Path, url: str) -> None:
    stopped.write_text(change)
    assert sending.upload(tar, url).resumed == 0
    assert notes(tar) == []


def test_notes_of_another_file_end_that_upload(stopped: Path, tar: Path, url: str) -> None:
    """A resealed file, under the same name and for the same URL: what is pending is ours and of no use."""
    (before,) = pending(url)
    tar.unlink()
    sealed_file(tar, SIZE, 9)
    assert sending.upload(tar, url).resumed == 0
    assert before not in pending(url) and comes_back(url, tar)


def test_an_upload_that_the_store_forgot_begins_anew(stopped: Path, tar: Path, url: str) -> None:
    (upload,) = pending(url)
    asked(url, lambda bucket: bucket.call("abort_multipart_upload", UploadId=upload))
    assert sending.upload(tar, url).resumed == 0
    assert comes_back(url, tar)


def test_anothers_pending_upload_is_not_touched(tar: Path, url: str) -> None:
    other = asked(url, lambda bucket: bucket.call("create_multipart_upload"))["UploadId"]
    assert sending.upload(tar, url).resumed == 0
    assert pending(url) == [other]


def test_two_runs_do_not_send_the_same(stopped: Path, tar: Path, url: str) -> None:
    codes: list[str] = []

    def again(done: int, total: int) -> None:
        if not codes:
            # In a thread of its own, since this one's event loop runs.
            run = threading.Thread(target=lambda: codes.append(refused(tar, url)))
            run.start()
            run.join()

    sending.upload(tar, url, progress=again)
    assert codes == ["already-sending"]


@pytest.mark.parametrize("place", [0.1, 0.99])
def test_a_broken_file_never_appears_and_leaves_nothing_pending(place: float, tar: Path, url: str) -> None:
    content = bytearray(tar.read_bytes())
    content[int(len(content) * place)] ^= 1
    tar.write_bytes(content)
    assert refused(tar, url) == "part-altered"
    assert not is_there(url) and pending(url) == [] and notes(tar) == []


def test_a_file_that_changes_while_it_is_sent_never_appears(tar: Path, url: str) -> None:
    def change(done: int, total: int) -> None:
        with tar.open("r+b") as stream:
            stream.seek(total // 2 - 2000)
            stream.write(b"changed")

    assert refused(tar, url, progress=change, parallel=1) in {"source-changed", "part-altered"}
    assert not is_there(url) and pending(url) == []


def test_what_appears_meanwhile_is_not_written_over(tar: Path, url: str) -> None:
    """The store itself is asked to make the object only where none is."""
    put = False

    def other(done: int, total: int) -> None:
        nonlocal put
        if not put:
            put = True
            # Not in this thread, whose event loop runs.
            code = "import sys, fsspec; fsspec.open(sys.argv[1], 'wb').open().close()"
            subprocess.run([sys.executable, "-c", code, url], check=True, timeout=PATIENCE_S)

    assert refused(tar, url, progress=other) == "remote-exists"
    assert pending(url) == [] and notes(tar) == []


def test_a_folder_that_takes_no_notes_leaves_no_upload_pending(
    tar: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not be found again."""
    monkeypatch.setattr("sealroom_agents.owner.transfer.notes.open_kept", denied)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sending.upload(tar, url, progress=stop)
    assert pending(url) == []
    sending.upload(tar, url)
    assert comes_back(url, tar)


def denied(path: Path) -> int:
    """As on a disk that is mounted for reading."""
    raise PermissionError(13, "Permission denied", str(path))


def test_a_wrong_secret_is_told_and_never_repeated(
    tar: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-04."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    with pytest.raises(SealroomError) as error:
        sending.upload(tar, url, limits=QUICK)
    assert error.value.code == "remote-unreachable" and "very-secret" not in error.value.message


def test_what_is_not_there_and_what_has_no_key_is_told(url: str, tar: Path, tmp_path: Path) -> None:
    expected = Expected(registration=registration_of(sealed.inspect(tar)), digest=None)
    for place, code in ((url, "remote-missing"), ("s3://sealroom", "url-unsupported")):
        with pytest.raises(SealroomError) as error:
            fetching.fetch(place, tmp_path / "got" / "A.tar", expected=expected, limits=QUICK)
        assert error.value.code == code
    with pytest.raises(SealroomError, match=r"s3://no-such-bucket/A[.]tar: no such bucket") as caught:
        sending.upload(tar, "s3://no-such-bucket/A.tar", limits=QUICK)
    assert caught.value.code == "remote-missing"


def test_more_parts_than_one_answer_lists_are_all_found(url: str) -> None:
    """S3 lists 1,000 at a time."""
    count = 1003

    async def work(bucket: s3.Bucket) -> dict[int, tuple[str, int]]:
        begun = await bucket.call("create_multipart_upload")
        slots = asyncio.Semaphore(8)

        async def one(number: int) -> None:
            async with slots:
                await bucket.call("upload_part", UploadId=begun["UploadId"], PartNumber=number, body=b"x")

        await asyncio.gather(*map(one, range(1, count + 1)))
        return await s3_parts._listed(bucket, Upload("file", begun["UploadId"], 1))

    found = asked(url, work)
    assert sorted(found) == list(range(1, count + 1))
    assert {size for _, size in found.values()} == {1}
