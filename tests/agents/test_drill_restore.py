# SPDX-License-Identifier: Apache-2.0
"""`sealroom drill restore`: a backup that can be restored holds, and each way in which it cannot is told."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyrage
import pytest
from click.testing import CliRunner
from tests.formats.worked import flip

from sealroom.codes import Code
from sealroom.errors import SealroomError
from sealroom.keys import Secret
from sealroom.sealed import inspect, seal
from sealroom_agents.cli.drill_restore import Drill, _lines
from sealroom_agents.cli.key import key
from sealroom_agents.local import drill
from sealroom_agents.owner import age, custody, data_key
from sealroom_agents.owner.custody import Party
from sealroom_agents.owner.registration import registration_file, registration_of

ACCOUNT = "0x" + 40 * "1"
MINE = pyrage.x25519.Identity.generate().to_public()


class Backup:
    """A sealed file, its key for an officer and an escrow, and both of their identities."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.plain, self.sealed, self.key = (folder / f"t.{end}" for end in ("parquet", "tar", "key"))
        pq.write_table(pa.table({"id": list(range(seed, seed + 50_000))}), self.plain)
        dek = Secret.generate()
        seal(self.plain, self.sealed, recipient=None, owner=ACCOUNT, name="t", dek=dek, part_size=65_536)
        info = inspect(self.sealed)
        file = custody.no_recipients(info.header, commitment=info.index.key_commitment, now=1_796_000_000)
        for name in ("officer", "escrow"):
            identity = pyrage.x25519.Identity.generate()
            (folder / f"{name}.txt").write_text(f"{identity}\n")
            (folder / f"{name}.txt").chmod(0o600)
            party = Party(name, age.recipient(str(identity.to_public())))
            slot, _ = custody.wrap(dek, party, now=1_796_000_000, note=file.note)
            file = custody.added(file, slot, dek)
        self.key.write_bytes(file.encode())
        self.key.chmod(0o600)
        self.plain_key = data_key.text(dek, note="t")
        self.registration = folder / "t.registration.json"
        self.registration.write_bytes(registration_file(registration_of(info)))
        self.folder = folder

    def drill(self, *more: str, identity: str = "escrow.txt") -> tuple[int, Any]:
        """Its status, and its report."""
        line = ["restore", str(self.sealed), "--key", str(self.key), "--json"]
        if identity:
            line += ["--identity", str(self.folder / identity)]
        done = CliRunner().invoke(drill.command, [*line, *more], standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        return int(done.return_value), json.loads(done.stdout)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Backup:
    return Backup(tmp_path_factory.mktemp("backup"))


@pytest.fixture
def backup(made: Backup, tmp_path: Path) -> Backup:
    """The same, to be damaged."""
    shutil.copytree(made.folder, tmp_path / "copy")
    copy = object.__new__(Backup)
    for name, value in vars(made).items():
        moved = isinstance(value, Path) and value != made.folder
        setattr(copy, name, tmp_path / "copy" / value.name if moved else value)
    copy.folder = tmp_path / "copy"
    return copy


def first_broken(report: Any) -> tuple[str, str]:
    broken = next(each for each in report["findings"] if not each["ok"])
    return broken["name"], broken["code"]


def test_a_whole_backup_holds_and_the_report_says_what_was_tried(backup: Backup) -> None:
    before = sorted(backup.folder.iterdir())
    status, report = backup.drill("--registration", str(backup.registration), "--against", str(backup.plain))
    assert (status, report["verdict"], report["drill"]) == (0, "holds", "restore")
    assert report["recipients"] == {"opens": ["escrow"], "doesNotOpen": ["officer"], "notTried": []}
    assert report["findings"][0]["detail"] == "escrow can open the key; not opened as: officer"
    assert report["size"] == backup.plain.stat().st_size
    assert report["seconds"] > 0 and report["at"].endswith("+00:00")
    assert [each["name"] for each in report["findings"]][-2:] == ["registered", "against"]
    assert sorted(backup.folder.iterdir()) == before


def test_each_identity_that_is_given_must_open_a_copy(backup: Backup) -> None:
    more = ("--identity", str(backup.folder / "officer.txt"))
    assert backup.drill(*more)[1]["recipients"]["opens"] == ["officer", "escrow"]
    stranger = backup.folder / "stranger.txt"
    stranger.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    stranger.chmod(0o600)
    status, report = backup.drill("--identity", str(stranger))
    assert (status, first_broken(report)) == (1, ("recipients", "identity-does-not-open"))
    assert any(each["name"] == "key" and each["ok"] for each in report["findings"]), "the rest is told too"


def test_a_part_that_does_not_open_is_told(backup: Backup) -> None:
    data = bytearray(backup.sealed.read_bytes())
    data[len(data) // 2] ^= 1
    backup.sealed.write_bytes(data)
    status, report = backup.drill()
    assert status == 1
    assert ("key", "parts-broken") in [(each["name"], each["code"]) for each in report["findings"]]
    assert report["seconds"] is None


@pytest.mark.parametrize("change", ["a bit", "a byte less", "a byte more", "another file"])
def test_another_input_differs(backup: Backup, change: str) -> None:
    data = backup.plain.read_bytes()
    place = len(data) - 100
    new, where = {
        "a bit": (flip(data, place), place),
        "a byte less": (data[:-1], len(data) - 1),
        "a byte more": (data + b"x", len(data)),
        "another file": (b"a,b\n1,2\n", 0),
    }[change]
    (backup.folder / "other").write_bytes(new)
    status, report = backup.drill("--against", str(backup.folder / "other"))
    assert (status, first_broken(report)) == (1, ("against", "restore-differs"))
    assert f"from byte {where:,} on" in report["findings"][-1]["detail"]


def test_the_registration_of_another_file_is_told(backup: Backup, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    registration = Backup(other, seed=1).registration
    status, report = backup.drill("--registration", str(registration))
    assert (status, first_broken(report)) == (1, ("registered", "registration-differs"))


def test_the_key_of_another_file_is_told(backup: Backup, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(Backup(other, seed=1).key, backup.key)
    shutil.copy(other / "escrow.txt", backup.folder / "escrow.txt")
    status, report = backup.drill()
    assert (status, first_broken(report)) == (1, ("key", "wrong-key"))


@pytest.mark.parametrize("plain", [False, True])
def test_a_key_that_is_tried_on_another_file_says_whose_it_is(
    backup: Backup, tmp_path: Path, plain: bool
) -> None:
    (tmp_path / "other").mkdir()
    other = Backup(tmp_path / "other", seed=1)
    if plain:
        backup.key.write_bytes(backup.plain_key)
    line = ["add" if plain else "test", str(backup.key), "--of", str(other.sealed)]
    line += ["--recipient", f"me={MINE}"] if plain else ["--identity", str(backup.folder / "escrow.txt")]
    with pytest.raises(SealroomError) as refused:
        CliRunner().invoke(key, line, standalone_mode=False, catch_exceptions=False)
    assert refused.value.code == Code.WRONG_KEY and "of another file" in refused.value.message
    assert refused.value.hint is not None


def test_nothing_that_opens_it_ends_the_drill(backup: Backup) -> None:
    backup.drill()
    (backup.folder / "escrow.txt").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    with pytest.raises(SealroomError) as refused:
        backup.drill()
    assert refused.value.code == Code.IDENTITY_DOES_NOT_OPEN


def test_a_plain_key_is_called_one(backup: Backup) -> None:
    backup.key.write_bytes(backup.plain_key)
    status, report = backup.drill(identity="")
    assert status == 0
    assert "the key is plain" in report["findings"][0]["detail"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.002, "under a second for 402.9 kB"),
        (2.0, "2.0 s for 402.9 kB, 201.4 kB a second"),
        (99.97, "1 min 40 s for 402.9 kB, 4.0 kB a second"),
        (200.4, "3 min 20 s for 402.9 kB, 2.0 kB a second"),
        (7_503.0, "2 h 5 min for 402.9 kB, 53 B a second"),
    ],
)
def test_how_long_it_took_is_told_as_far_as_it_says_something(
    made: Backup, seconds: float, said: str
) -> None:
    info = inspect(made.sealed)
    info = replace(info, header=replace(info.header, size=402_876))
    report = Drill(made.sealed, made.key, datetime.now(UTC), info=info, seconds=seconds)
    assert dict(_lines(report, "holds"))["time"] == said
