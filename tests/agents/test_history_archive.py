# SPDX-License-Identifier: Apache-2.0
"""The history as a ZIP with its proofs: what is in it, that it holds offline, and how large it may be."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from eth_utils.crypto import keccak
from fastapi.testclient import TestClient
from tests.agents.following import console
from tests.agents.shell import forked
from tests.agents.staged import Stage, make_stage
from tests.local_chain import LocalChain
from tests.outside import HOLDER

from sealroom.encoding import to_hex
from sealroom.envelope import Envelope, parse_envelope
from sealroom_agents import verification
from sealroom_agents.console import archive
from sealroom_agents.console.history import COLUMNS
from sealroom_agents.console.routes import history as route
from sealroom_agents.simulator.platform import simulated_os_image
from sealroom_agents.store import Store

pytestmark = pytest.mark.anvil

HOSTILE = '=HYPERLINK("http://elsewhere")<script>'


@dataclass(frozen=True)
class Told:
    """A consortium with two runs, of which this console has one envelope with proofs, and a revocation."""

    stage: Stage
    web: TestClient
    store: Store
    envelope: Envelope

    @property
    def path(self) -> str:
        return f"/v1/studies/{self.stage.room.consortium}/history.zip"

    def archive(self, query: str = "") -> dict[str, bytes]:
        answer = self.web.get(f"{self.path}?{query}")
        assert answer.status_code == 200, answer.text
        with zipfile.ZipFile(io.BytesIO(answer.content)) as opened:
            assert opened.testzip() is None
            names = opened.namelist()
            assert names == sorted(names)
            return {name: opened.read(name) for name in names}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("stage")
    with LocalChain.start() as chain:
        stage = make_stage(chain, folder)
        early = stage.done()
        stage.done()
        chain.revoke(stage.room, 0, HOSTILE)
        chain.finalize()
        proven = stage.reader.with_proofs(early)
        assert proven is not None
        store = Store(f"sqlite:///{folder / 'runs.db'}")
        compose_hash = to_hex(proven.receipt.compose_hash)
        store.add_recipe(compose_hash, stage.recipe)
        store.submit(
            to_hex(proven.receipt.run_id), compose_hash=compose_hash,
            consortium=stage.room.consortium, missing=[], waiting=False,
        )  # fmt: skip
        held = store.claim(HOLDER)
        assert held is not None
        store.emitted(held, "{}")
        store.anchored(held, proven.encode().decode(), message="anchored")
        with TestClient(console(store, stage.reader, stage.room.factory)) as web:
            yield Told(stage, web, store, proven)
        store.close()


def test_the_sums_hold_and_each_envelope_is_proven_offline(told: Told, tmp_path: Path) -> None:
    files = told.archive()
    for name, data in files.items():
        assert not name.startswith(("/", ".")) and ".." not in name
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    sums = forked("sha256sum --strict -c SHA256SUMS", tmp_path)
    assert sums.returncode == 0, sums.stdout
    assert sums.stdout.count(": OK") == len(files) - 1

    stage, identity = told.stage, told.stage.gate.identity
    pin = verification.Pin(
        chain_id=stage.chain.chain_id, consortium=stage.room.consortium, gate_compose=identity.compose_hash,
        gate_root=identity.gate_root, kms_root=identity.kms_root, os_images=(simulated_os_image(),),
    )  # fmt: skip
    (tmp_path / "pin.json").write_bytes(pin.encode())
    (tmp_path / "root.der").write_bytes(stage.platform.root_der)
    blocks = [*csv.DictReader(io.StringIO(files["blocks.csv"].decode()))]
    vouched = " ".join(f"--block-hash {one['block']}:{one['hash']}" for one in blocks)
    envelopes = [name for name in files if name.startswith("envelopes/")]
    assert envelopes == [f"envelopes/{to_hex(told.envelope.receipt.run_id)}.json"]
    for name in envelopes:
        command = f"sealroom verify {name} --pin pin.json --simulated-root root.der {vouched}"
        done = forked(command, tmp_path)
        assert done.returncode == 0 and "anchored on chain: yes" in done.stdout, done.stdout
        text = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(text.replace(b'"sequence":1', b'"sequence":2'))
        assert forked(command, tmp_path).returncode != 0, "one byte changed"
        assert forked("sha256sum --strict -c SHA256SUMS", tmp_path).returncode != 0
    assert "sealroom verify envelopes/RUN.json --pin pin.json" in files["README.txt"].decode()
    assert "verify.html" in files["README.txt"].decode()


def test_rows_are_the_same_in_both_forms_and_name_their_runs(told: Told) -> None:
    """WE-09: an owner's words that are a formula stay words in a spreadsheet."""
    files = told.archive()
    head, *rows = csv.reader(io.StringIO(files["history.csv"].decode(), newline=""))
    document = json.loads(files["history.json"])
    assert tuple(head) == COLUMNS
    assert [[one.removeprefix("'") for one in row] for row in rows] == [
        [one[name] for name in COLUMNS] for one in document["rows"]
    ]
    assert rows[0][COLUMNS.index("reason")] == "'" + HOSTILE
    assert document["rows"][0]["reason"] == HOSTILE
    run = to_hex(told.envelope.receipt.run_id)
    named = {one["run"] for one in document["rows"]} - {""}
    assert run in named and len(named) == 2
    assert document["envelopes"][run] == "here"
    assert sorted(document["envelopes"].values()) == ["here", "not here"]
    assert "1 of 2 runs" in files["README.txt"].decode()
    csv_alone = told.web.get(told.path.replace(".zip", ".csv")).text
    assert csv_alone.encode() == files["history.csv"]


def test_proofs_are_those_of_the_envelope(told: Told) -> None:
    files = told.archive()
    anchor = told.envelope.anchor
    assert anchor is not None and anchor.proofs
    folder = f"proofs/{to_hex(told.envelope.receipt.run_id)}/"
    headers = {data for name, data in files.items() if name.startswith(folder) and name.endswith(".header")}
    assert headers == {proof.header for proof in anchor.proofs}
    blocks = [*csv.DictReader(io.StringIO(files["blocks.csv"].decode()))]
    assert len(blocks) == len(anchor.proofs)
    for one in blocks:
        data = files[f"{folder}{one['block']}.header"]
        assert one["hash"] == to_hex(keccak(data))
        on_chain = told.stage.chain.rpc("eth_getBlockByNumber", hex(int(one["block"])), False)
        assert on_chain["hash"] == one["hash"]
        assert f"{folder}{one['block']}-{one['transaction_index']}.receipt" in files


def test_the_same_history_makes_the_same_bytes(told: Told) -> None:
    first = told.web.get(told.path).content
    assert told.web.get(told.path).content == first
    told.stage.chain.mine(3)
    told.stage.chain.finalize()
    assert told.web.get(told.path).content == first, "blocks without events change nothing"
    with zipfile.ZipFile(io.BytesIO(first)) as opened:
        assert {one.date_time for one in opened.infolist()} == {archive.MADE}
        assert {one.compress_type for one in opened.infolist()} == {zipfile.ZIP_STORED}


def test_a_filter_chooses_rows_and_with_them_envelopes(told: Told) -> None:
    files = told.archive("kind=revocations")
    assert not [name for name in files if name.startswith(("envelopes/", "proofs/"))]
    assert json.loads(files["history.json"])["asked"] == "kind=revocations"
    assert len(json.loads(files["history.json"])["rows"]) == 1
    assert told.web.head(told.path).status_code == 200
    page = told.web.get(f"/studies/{told.stage.room.consortium}/history?kind=runs").text
    assert "history.zip?kind=runs" in page


@pytest.mark.parametrize("limit", ["MOST_ROWS", "MOST_RUNS", "MOST_BYTES"])
def test_what_is_too_large_for_one_file_is_refused(
    told: Told, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """OP-08: an archive is held whole, so it is bounded; nothing is left out in silence."""
    assert told.web.get(told.path).status_code == 200
    monkeypatch.setattr(archive, limit, 1)
    refused = told.web.get(told.path)
    assert (refused.status_code, refused.json()["code"]) == (422, "export-too-large")
    assert "shorter period" in refused.json()["hint"]
    assert told.web.get(told.path).status_code == 422, "a refusal gives its place back"


def test_few_archives_are_made_at_once(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """RE-05: each is held whole."""
    seen: list[int] = []

    def asked_again(*_: object) -> bytes:
        if len(seen) < route.ARCHIVES:
            seen.append(told.web.get(told.path).status_code)
        return b""

    monkeypatch.setattr(route, "archived", asked_again)
    assert told.web.get(told.path).status_code == 200
    assert seen.count(429) == 1, seen


def test_an_envelope_that_cannot_be_read_here_is_handed_on(told: Told) -> None:
    rows = archive.archived(
        archive.Subject(1, "0x" + "11" * 20, "0x" + "22" * 20, "", "events are hidden"),
        [],
        lambda _: None,
    )
    with zipfile.ZipFile(io.BytesIO(rows)) as opened:
        assert "Events are missing: events are hidden" in opened.read("README.txt").decode()
    anchor = told.envelope.anchor
    assert anchor is not None
    broken = replace(anchor, proofs=(replace(anchor.proofs[0], header=b"\x00"),))
    for text, code in (
        ("{}", "malformed"),
        (told.envelope.with_anchor(broken).encode().decode(), "proof-broken"),
    ):
        files, lines = archive._Files(), []
        said = archive._add_envelope(files, "0x" + "33" * 32, text.encode(), lines)
        assert said.startswith("here; its proofs were not read: ") and code in said, said
        assert files._files["envelopes/0x" + "33" * 32 + ".json"] == text.encode() and not lines
    assert parse_envelope(told.envelope.encode()) == told.envelope
