# SPDX-License-Identifier: Apache-2.0
"""All vectors, each through every reader of its format."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from sealroom import receipt_tree, typed
from sealroom import recipe as recipes
from sealroom.encoding import canonical, from_hex, lp, sha256
from sealroom.envelope import parse_envelope, verify_receipt, verify_statement
from sealroom.errors import FormatError, SealError, SealroomError
from sealroom.failure import parse_failure
from sealroom.keys import KemPrivateKey, Secret, gate_root_key, hkdf_sha256
from sealroom.model import SIGNED, Opening
from sealroom.sealed import (
    SealedArchive,
    SealedFile,
    SealedInfo,
    WrapContext,
    inspect,
    open_sealed,
    open_wrap,
    unseal,
)
from sealroom.sealed.archive import part_name
from tests.formats.sealing import members, write
from tests.formats.worked import flip
from tests.vectors.make_sealed import coverage, make_sealed
from tests.vectors.vector import FOLDER, Vector, cases, read

PAGE = FOLDER.parents[1] / "enclave" / "spec" / "sealed-dataset.md"
KINDS = ("sealed", "recipe", "envelope", "ledger", "typed", "policy", "failure", "pseudonym", "tuple")
PLAIN = "parquet"
"""Plain tables of other writers, which have no lines of their own. `test_parquet_types.py` runs each."""
WALKED = "walk"
"""Envelopes with what their verifiers know; `tests/face/test_walk_vectors.py` walks each."""
RECORDED = "opstack"
"""What a node answered once, in its own form; `tests/agents/test_opstack.py` runs it."""


def _named(path: Path) -> str:
    return path.name


def _check(vector: Vector, act: Callable[[], object]) -> None:
    """Run one case: it succeeds, or fails with exactly its code in exactly its stage."""
    if vector.fields["expect"] == "success":
        act()
        return
    with pytest.raises(SealroomError) as caught:
        act()
    assert (caught.value.code, type(caught.value).__name__) == (
        vector.fields["expect"],
        vector.fields["stage"],
    )


class SealedCase:
    """One sealed dataset in a file of its own, and the readers that it goes through."""

    def __init__(self, vector: Vector, folder: Path) -> None:
        self.vector, self.at = vector, vector.fields.get("at", "")
        self.path, self.plain = folder / "archive.tar", folder / "plain"
        self.path.write_bytes(vector.body)
        chain_id = int(vector.fields["chain-id"])
        self.gate = gate_root_key(vector.hex("gate-secret"), chain_id)
        self.context = WrapContext(
            chain_id=chain_id,
            consortium=vector.fields["consortium"],
            kms_root=vector.hex("kms-root"),
            gate_public_key=self.gate.public,
            app=vector.fields["app"],
            compose_hash=vector.hex("compose-hash"),
        )

    def inspect(self) -> SealedInfo:
        return inspect(self.path)

    def signer(self) -> None:
        assert self.inspect().index.signer() == self.vector.fields.get("signer")

    def unwrap(self) -> Secret:
        return open_wrap(self.inspect().needed_wrap(), self.gate, context=self.context)

    def open(self, data_key: Secret, **options: Any) -> SealedFile:
        return open_sealed(
            self.path,
            dek=data_key,
            header_digest=self.vector.hex("header-digest"),
            index_digest=self.vector.hex("index-digest"),
            key_commitment=self.vector.hex("key-commitment"),
            **options,
        )

    def open_whole(self) -> None:
        with self.open(self.unwrap(), verify_all=True) as opened:
            self.is_plain(opened.read())

    def seek(self) -> None:
        """From the end to the start, across the boundaries of chunks and parts, with one part in memory."""
        with self.open(self.unwrap(), verify_all=False, cached_parts=1) as opened:
            pieces: list[bytes] = []
            for start in reversed(range(0, max(1, opened.size()), STEP)):
                opened.seek(start)
                pieces.append(opened.read(STEP))
            self.is_plain(b"".join(reversed(pieces)))

    def unseal(self) -> None:
        """The owner's way back, with the key that the owner keeps."""
        unseal(self.path, self.plain, dek=Secret(self.vector.hex("data-key")))
        self.is_plain(self.plain.read_bytes())

    def is_plain(self, data: bytes) -> None:
        assert sha256(data) == self.vector.hex("plain-digest")


STEP = 9_999
"""Bytes of one read: no boundary of chunks or parts is a multiple of it."""


@pytest.fixture
def sealed_case(path: Path, tmp_path: Path) -> SealedCase:
    return SealedCase(read(path), tmp_path)


@pytest.mark.parametrize("path", cases("sealed"), ids=_named)
def test_sealed(sealed_case: SealedCase) -> None:
    """The step that must refuse does; each before it passes."""
    steps = {
        "reading": sealed_case.inspect,
        "signer": sealed_case.signer,
        "unwrapping": sealed_case.unwrap,
        "opening": sealed_case.open_whole,
    }
    for name, step in steps.items():
        if name == sealed_case.at:
            _check(sealed_case.vector, step)
            return
        step()
    assert sealed_case.vector.fields["expect"] == "success"


@pytest.mark.parametrize("path", cases("sealed"), ids=_named)
def test_sealed_read_from_the_end_to_the_start(sealed_case: SealedCase) -> None:
    """CE-07: the seekable reader refuses what the others do, and never gives other bytes."""
    if sealed_case.at == "signer":  # that counts only where a signer is named
        sealed_case.seek()
    else:
        _check(sealed_case.vector, sealed_case.seek)


@pytest.mark.parametrize("path", cases("sealed"), ids=_named)
def test_sealed_given_back_to_its_owner(path: Path, sealed_case: SealedCase) -> None:
    """Who has the data key needs neither gate nor chain; of what is broken, no file is left."""
    broken = sealed_case.at == "reading" or sealed_case.vector.fields.get("stage") == "PartError"
    if broken or path.name == "commits_to_another_key":
        _check(sealed_case.vector, sealed_case.unseal)
        assert not sealed_case.plain.exists()
    else:
        sealed_case.unseal()


@pytest.mark.parametrize(
    "path", [path for path in cases("sealed") if read(path).fields["expect"] == "success"], ids=_named
)
def test_sealed_written_again(sealed_case: SealedCase) -> None:
    """Each value has one encoding: what the decoders take, the encoders give back byte for byte."""
    with SealedArchive.open(sealed_case.path) as archive:
        info = archive.info
        begins = [archive.place(number) for number in range(info.header.parts)]
    body = sealed_case.vector.body
    parts = {
        part_name(number): body[begin : begin + info.index.parts[number].size]
        for number, begin in enumerate(begins)
    }
    assert info.dataset_id == sealed_case.vector.hex("dataset-id")
    first = {"header.json": info.header.encode(), "wrap.json": info.needed_wrap().encode()}
    again = write(sealed_case.plain, first | parts | {"index.json": info.index.encode()})
    assert again.read_bytes() == body


@pytest.mark.parametrize("path", [FOLDER / "sealed" / "two_parts"], ids=_named)
def test_sealed_changed_after_it_was_opened(sealed_case: SealedCase, tmp_path: Path) -> None:
    """AR-11: what is read is what was checked, in the one file that was opened."""
    body = sealed_case.vector.body
    second = body.index(b"parts/00001") + 520
    with sealed_case.open(sealed_case.unwrap()) as opened:
        os.replace(write(tmp_path / "other.tar", {}), sealed_case.path)
        sealed_case.is_plain(opened.read())

    for changed, code in [(flip(body, second), "part-altered"), (body[:second], "archive-truncated")]:
        sealed_case.path.write_bytes(body)
        with sealed_case.open(sealed_case.unwrap()) as opened:
            sealed_case.path.write_bytes(changed)
            with pytest.raises(SealError) as caught:
                opened.read()
        assert caught.value.code == code


def test_sealed_vectors_of_one_file_differ_in_their_wraps_alone(tmp_path: Path) -> None:
    """CE-20: for another recipe, for another consortium, and for nobody yet."""
    found: dict[str, set[bytes]] = {}
    for name in ("resealed", "resealed_for_other_consortium", "not_wrapped", "wrap_old_recipe"):
        (tmp_path / name).write_bytes(read(FOLDER / "sealed" / name).body)
        for member, content in members(tmp_path / name).items():
            found.setdefault(member, set()).add(content)
    assert {member: len(contents) for member, contents in found.items()} == {
        "header.json": 1,
        "wrap.json": 4,
        "parts/00000": 1,
        "index.json": 1,
    }


def test_sealed_vectors_are_what_their_scripts_make(tmp_path: Path) -> None:
    make_sealed(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in cases("sealed")}


def test_the_page_of_the_vectors_says_which_case_covers_which_threat() -> None:
    page = (FOLDER / "README.md").read_text()
    comments = {path.name: read(path).fields["comment"] for path in cases("sealed")}
    assert coverage(comments) + "\n\n" in page
    threats = [f"CE-{number:02d}" for number in range(1, 22)] + [
        f"AR-{number:02d}" for number in range(1, 12)
    ]
    named = re.findall(
        r"(?:CE|AR)-\d\d", "".join(line.split("|")[1] for line in page.splitlines() if "|" in line)
    )
    assert sorted(set(named)) == sorted(threats)


@pytest.mark.parametrize("path", [FOLDER / "sealed" / "table"], ids=_named)
def test_the_page_shows_each_step_of_its_example(sealed_case: SealedCase) -> None:
    page = PAGE.read_text()
    vector, info = sealed_case.vector, sealed_case.inspect()
    data_key, header, wrap = vector.hex("data-key"), info.header_digest, info.needed_wrap()
    seed_info = lp("sealroom/v1/x-wing-seed", wrap.chain_id)
    steps = {
        "data key": data_key,
        "dataset id": info.dataset_id,
        "header digest": header,
        "key commitment": info.index.key_commitment,
        "part key 0": hkdf_sha256(data_key, salt=header, info=lp("sealroom/v2/part", 0, 1)),
        "part context 0": sha256(lp("sealroom/v2/part-context", header, 0, 1)),
        "wrap info": sha256(wrap.info()),
        "x-wing seed": hkdf_sha256(vector.hex("gate-secret"), salt=b"sealroom/v1/gate-root", info=seed_info),
        "gate root": wrap.gate_root,
        "index digest": info.index_digest,
    }
    shown = re.findall(r"^([a-z0-9 -]+?) += ([0-9a-f]{64})", page, re.MULTILINE)
    assert {name: value for name, value in shown if name != "shared secret"} == {
        name: value.hex() for name, value in steps.items()
    }
    assert f"{len(cases('sealed'))} archives" in page
    assert f"\n{info.header.encode().decode()}\n" in page and f"\n{info.index.encode().decode()}\n" in page


@pytest.mark.parametrize("path", cases("recipe"), ids=_named)
def test_recipe(path: Path) -> None:
    vector = read(path)
    _check(vector, lambda: recipes.parse(vector.body))
    if vector.fields["expect"] == "success":
        recipe = recipes.parse(vector.body)
        assert recipe.compose_hash == recipes.compose_hash(vector.body) == vector.hex("compose-hash")
        assert (recipe.output_hash, recipe.privacy_hash) == (
            vector.hex("output-hash"),
            vector.hex("privacy-hash"),
        )
        assert recipe.epsilon_micro == int(vector.fields["epsilon-micro"])
        assert recipe.delta_pico == int(vector.fields["delta-pico"])


@pytest.mark.parametrize("path", cases("envelope"), ids=_named)
def test_envelope(path: Path) -> None:
    vector = read(path)

    def verify() -> None:
        envelope = parse_envelope(vector.body)
        assert envelope.encode() == vector.body
        verify_statement(envelope)
        verify_receipt(envelope)

    _check(vector, verify)


@pytest.mark.parametrize("path", cases("typed"), ids=_named)
def test_typed(path: Path) -> None:
    """eth-account reads the JSON as a wallet does, and knows nothing of our types."""
    vector = read(path)
    message = encode_typed_data(full_message=json.loads(vector.body))
    assert (message.header, message.body) == (vector.hex("domain-separator"), vector.hex("struct-hash"))
    assert typed.digest(message) == vector.hex("digest")
    assert typed.sign(message, vector.hex("private-key")) == vector.hex("signature")
    assert Account.sign_message(message, vector.hex("private-key")).signature == vector.hex("signature")
    assert typed.recover(message, vector.hex("signature")) == vector.fields["signer"]


def test_every_signed_structure_has_a_vector() -> None:
    assert {path.name for path in cases("typed")} == {record.struct for record in SIGNED}


@pytest.mark.parametrize("path", [path for path in cases("ledger") if path.name == "opening"], ids=_named)
def test_ledger_opening(path: Path) -> None:
    vector = read(path)
    opening = Opening.from_json(json.loads(vector.body), error=FormatError)
    assert canonical(opening.to_json()) == vector.body
    assert typed.opening_hash(opening) == vector.hex("commitment")


@pytest.mark.parametrize("path", [path for path in cases("ledger") if path.name != "opening"], ids=_named)
def test_ledger_batch(path: Path) -> None:
    vector = read(path)
    batch = json.loads(vector.body)
    digests = [from_hex(digest) for digest in batch["receipts"]]
    first, numbers, root = batch["first"], batch["numbers"], vector.hex("root")
    assert receipt_tree.root(first, numbers, digests) == root
    for place, digest in enumerate(digests):
        leaf = receipt_tree.leaf(first + place, numbers[place], digest)
        siblings = [from_hex(sibling) for sibling in batch["paths"][place]]
        assert leaf == from_hex(batch["leaves"][place])
        assert siblings == receipt_tree.path(first, numbers, digests, place)
        assert receipt_tree.contains(root, leaf, siblings)


@pytest.mark.parametrize("path", cases("failure"), ids=_named)
def test_failure(path: Path) -> None:
    """OU-06, OU-09."""
    vector = read(path)
    key = KemPrivateKey.from_seed(vector.hex("report-seed"))
    _check(vector, lambda: parse_failure(vector.body).open(key))


@pytest.mark.parametrize("path", cases("pseudonym"), ids=_named)
def test_pseudonym(path: Path) -> None:
    import pyarrow as pa

    from sealroom.schema import parse_type
    from sealroom_agents.owner.prepare.pseudonyms import Pseudonyms, fingerprint, spelt, study_key

    fields, body = read(path).fields, read(path).body
    key = Secret(bytes.fromhex(fields["key"]))
    steps = () if fields["spelling"] == "none" else tuple(fields["spelling"].split())
    ids = spelt(pa.array([None, body.decode(), body.decode()]), steps)
    for_study = study_key(key, study=fields["study"], of=fields["of"])

    assert fingerprint(key).hex() == fields["fingerprint"]
    for kind, read_as in (("int64", int), ("string", str)):
        found, _ = Pseudonyms(for_study, parse_type(kind, column="x")).of(ids)
        assert found.to_pylist() == [None, read_as(fields[kind]), read_as(fields[kind])]


@pytest.mark.parametrize("path", cases("tuple"), ids=_named)
def test_tuple(path: Path) -> None:
    vector = read(path)
    assert lp(vector.fields["domain"], *json.loads(vector.fields["fields"])) == vector.body


def test_no_two_tuples_have_one_encoding() -> None:
    """CE-09."""
    bodies = [read(path).body for path in cases("tuple")]
    assert len(set(bodies)) == len(bodies)


def test_every_vector_is_run_and_every_case_has_a_comment() -> None:
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert folders == {*KINDS, PLAIN, RECORDED, WALKED}
    assert all(path.suffix == ".parquet" for path in (FOLDER / PLAIN).iterdir())
    for kind in (*KINDS[:-1], WALKED):
        assert all(read(path).fields["comment"] for path in cases(kind))
