# SPDX-License-Identifier: Apache-2.0
"""`--dry-run` of the commands that write or send: all of it is checked and told, and nothing is changed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.agents.deskside import owners_desk
from tests.agents.test_seal_again import ACCOUNT, EARLY, ESCROW, KEYS, PLACE, run, state, told
from tests.agents.worked import write_cohort
from tests.local_chain import LocalChain, account

from sealroom.encoding import sha256, to_hex
from sealroom.keys import Secret
from sealroom_agents.owner import data_key

TAR, KEY = PLACE / "cohort-A.tar", KEYS / "cohort-A.key"


@pytest.fixture
def wrapped(tmp_path: Path) -> Path:
    """A folder with one sealed file, and an identity that opens its key."""
    write_cohort(tmp_path / "cohort-A.parquet")
    subprocess.run(["age-keygen", "-o", tmp_path / "officer.txt"], check=True, capture_output=True)
    public = next(
        line.split()[-1] for line in (tmp_path / "officer.txt").read_text().splitlines() if "public" in line
    )
    run(tmp_path, f"{EARLY} --in cohort-A.parquet --recipient officer={public}")
    return tmp_path


CHANGES = {
    "add": f"sealroom key add {KEY} --recipient escrow={ESCROW} --identity officer.txt",
    "rotate": f"sealroom key rotate {KEY} officer --recipient new={ESCROW} --identity officer.txt",
    "unseal": f"sealroom unseal {TAR} --key {KEY} --identity officer.txt --out plain.parquet",
}


@pytest.mark.parametrize("command", CHANGES.values(), ids=CHANGES.keys())
def test_a_dry_run_changes_nothing_and_the_run_does(wrapped: Path, command: str) -> None:
    before = state(wrapped)
    facts = told(wrapped, f"{command} --dry-run")
    assert (facts["ok"], facts["dryRun"]) == (True, True) and facts["would"][0]["act"] == "write"
    assert "a dry run: nothing was written or sent" in run(wrapped, f"{command} --dry-run")
    assert state(wrapped) == before
    run(wrapped, command)
    assert state(wrapped) != before


def test_a_dry_run_of_a_change_needs_what_the_change_needs(wrapped: Path) -> None:
    for command in (
        f"sealroom key add {KEY} --recipient escrow={ESCROW}",
        f"sealroom key remove {KEY} officer --identity officer.txt",
        f"sealroom key rotate {KEY} nobody --recipient new={ESCROW} --identity officer.txt",
    ):
        dry, wet = (told(wrapped, f"{command} {more}", 1) for more in ("--dry-run", ""))
        assert dry == wet


def test_a_dry_run_opens_every_part(wrapped: Path) -> None:
    content = bytearray((wrapped / TAR).read_bytes())
    at = content.index(b"parts/00000") + 512 + 1500
    content[at] ^= 1
    (wrapped / TAR).write_bytes(content)
    before = state(wrapped)
    unseal = CHANGES["unseal"]
    # It has one part, so that no part opens.
    assert told(wrapped, f"{unseal} --dry-run", 1)["code"] == "wrong-key"
    assert state(wrapped) == before


def test_a_signature_of_a_keystore_is_told_and_not_made(wrapped: Path) -> None:
    """Nobody is asked for the passphrase."""
    (wrapped / "officer.json").write_text(json.dumps({"version": 3, "address": ACCOUNT[2:], "crypto": {}}))
    (wrapped / "officer.json").chmod(0o600)
    before = state(wrapped)
    facts = told(wrapped, f"sealroom sign {TAR} --keystore officer.json --dry-run")
    assert facts["signer"] == ACCOUNT
    other = "0x" + "0b" * 20
    refused = told(wrapped, f"sealroom sign {TAR} --keystore officer.json --account {other} --dry-run", 1)
    assert refused["code"] == "signer-not-owner"
    assert state(wrapped) == before


@pytest.mark.anvil
def test_reseal_and_govern_try_and_leave_all_as_it_is(chain: LocalChain, tmp_path: Path) -> None:
    with owners_desk(chain, tmp_path) as desk:
        root = "--simulated-root root.der"
        early = f"sealroom seal --account {account(0)} --yes --in cohort-A.parquet"
        desk.run(f"{early} --dataset-version 2", 0, rpc=None)
        sealed = f"sealed/{account(0)}/cohort-A.v2.tar"
        desk.chain.mine()
        before, block = state(tmp_path), desk.chain.block_number()
        facts = desk.json(f"sealroom reseal {sealed} {root} --dry-run", 0)
        assert facts["wrap"]["consortium"] == desk.stage.room.consortium
        key = f"keys/{account(0)}/cohort-A.v2.key"
        (tmp_path / "other.key").write_bytes(data_key.text(Secret.generate(), note="other"))
        (tmp_path / "other.key").chmod(0o600)
        wrong = desk.json(f"sealroom reseal {sealed} {root} --key other.key --dry-run", 1)
        assert wrong["code"] == "wrong-key" and (tmp_path / key).is_file()
        (tmp_path / "other.key").unlink()
        of = f"--consortium {desk.stage.room.consortium} --owner {account(0)} --dry-run"
        found = desk.json(f"sealroom govern add-version --registration {sealed} {of}", 0)
        assert (found["dryRun"], found["tried"], len(found["calls"])) == (True, True, 1)
        again = desk.json(f"sealroom govern register --lifetime 3 --registration {sealed} {of}", 1)
        assert again["code"] == "registration-differs"
        stranger = of.replace(account(0), account(9))
        assert desk.json(f"sealroom govern revoke --reason why {stranger}", 1)["ok"] is False
        requested = desk.json(f"sealroom govern revoke --reason why {of} --request r.json", 0)
        assert requested["would"] == [{"act": "write", "what": "r.json"}]
        (tmp_path / "errors").unlink()
        assert state(tmp_path) == before
        assert desk.chain.call("Lens", desk.chain.lens, "state", desk.stage.room.consortium)["live"]
        assert block <= desk.chain.block_number()


# --- sending and fetching ----------------------------------------------------------------------------


def test_an_upload_is_told_with_what_is_there_and_nothing_is_sent(wrapped: Path) -> None:
    upload = f'sealroom upload {TAR} "file://$PWD/store/A.tar"'
    before = state(wrapped)
    facts = told(wrapped, f"{upload} --dry-run")
    size = (wrapped / TAR).stat().st_size
    assert (facts["ok"], facts["dryRun"], facts["size"], facts["parts"]) == (True, True, size, 1)
    assert facts["sha256"] == to_hex(sha256((wrapped / TAR).read_bytes()))
    assert facts["there"] == {"known": True, "size": None} and facts["begun"] == {"parts": 0, "bytes": 0}
    said = run(wrapped, f"{upload} --dry-run")
    assert "would compare  all of it, fetched again" in said and "nothing was written or sent" in said
    assert state(wrapped) == before
    run(wrapped, f"{upload} --yes")
    before = state(wrapped)
    # Looked first: nobody is asked whether to do what cannot be done.
    for more in ("--dry-run", "", "--yes"):
        assert told(wrapped, f"{upload} {more}", 1)["code"] == "remote-exists"
    facts = told(wrapped, f"{upload} --overwrite --dry-run")
    assert facts["there"] == {"known": True, "size": size}
    asked = told(wrapped, f"{upload} --overwrite", 1)
    assert asked["code"] == "nobody-to-ask" and ", and replace what is there, 1" in asked["error"]
    assert state(wrapped) == before


def test_a_dry_upload_reads_all_and_asks_no_signed_url(wrapped: Path) -> None:
    nowhere = f"sealroom upload {TAR} http://127.0.0.1:1/A.tar?signature=s --no-read-back"
    facts = told(wrapped, f"{nowhere} --dry-run")
    assert facts["there"] == {"known": False, "size": None} and facts["url"] == "http://127.0.0.1:1/A.tar"
    assert "the store does not tell, and a PUT replaces it" in run(wrapped, f"{nowhere} --dry-run")
    assert told(wrapped, nowhere, 1)["error"].endswith("A.tar, where what is there is not known?")
    content = bytearray((wrapped / TAR).read_bytes())
    content[content.index(b"parts/00000") + 512 + 1500] ^= 1
    (wrapped / TAR).write_bytes(content)
    assert told(wrapped, f"{nowhere} --dry-run", 1)["code"] == "part-altered"
    plain = f'sealroom upload {KEY} "file://$PWD/store/A.tar" --dry-run'
    assert "it seems to be a data key" in told(wrapped, plain, 1)["error"]


def test_a_dry_upload_is_refused_where_nothing_could_be_written(wrapped: Path) -> None:
    (wrapped / "file").touch()
    upload = f'sealroom upload {TAR} "file://$PWD/file/A.tar"'
    dry, wet = (told(wrapped, f"{upload} {more}", 1) for more in ("--dry-run", "--yes"))
    assert dry["code"] == wet["code"] == "remote-unreachable"
    (wrapped / "folder").mkdir()
    over = f'sealroom upload {TAR} "file://$PWD/folder" --overwrite --dry-run'
    assert told(wrapped, over, 1)["code"] == "remote-unreachable"


def test_a_fetch_is_told_and_nothing_is_fetched(wrapped: Path) -> None:
    of = f"--registration {PLACE}/cohort-A.registration.json"
    fetch = f'sealroom fetch "file://$PWD/{TAR}" --out got/here/A.tar'
    before = state(wrapped)
    facts = told(wrapped, f"{fetch} {of} --dry-run")
    assert (facts["ok"], facts["dryRun"], facts["size"]) == (True, True, (wrapped / TAR).stat().st_size)
    assert facts["parts"] == 1 and facts["begun"] == {"parts": 0, "bytes": 0}
    said = run(wrapped, f"{fetch} {of} --dry-run")
    assert "would compare  each part with its index, which is the registered one" in said
    digest = f"--sha256 0x{64 * '1'}"
    assert "nothing that came vouches for it before" in run(wrapped, f"{fetch} {digest} --dry-run")
    assert state(wrapped) == before
    run(wrapped, f"{fetch} {of}")
    assert told(wrapped, f"{fetch} {of} --dry-run", 1)["code"] == "output-exists"
    write_cohort(wrapped / "other.parquet", rows=7)
    run(wrapped, f"{EARLY} --in other.parquet")
    other = f"--registration {PLACE}/other.registration.json"
    again = fetch.replace("got/here", "elsewhere")
    assert told(wrapped, f"{again} {other} --dry-run", 1)["code"] == "dataset-mismatch"
    assert not (wrapped / "elsewhere").exists()
