# SPDX-License-Identifier: Apache-2.0
"""All vectors, each through every reader of its format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from eth_account.messages import encode_typed_data

from sealroom import recipe as recipes
from sealroom import typed
from sealroom.encoding import lp, sha256
from sealroom.envelope import parse_envelope, verify_receipt, verify_statement
from sealroom.errors import SealroomError
from sealroom.keys import gate_root_key
from sealroom.sealed import SealedInfo, WrapContext, inspect, open_sealed, open_wrap
from tests.vectors.vector import FOLDER, Vector, cases, read

KINDS = ("sealed", "recipe", "envelope", "typed", "tuple")


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


def _open(vector: Vector, path: Path) -> None:
    fields = vector.fields
    chain_id = int(fields["chain-id"])
    gate = gate_root_key(vector.hex("gate-secret"), chain_id)
    context = WrapContext(
        chain_id=chain_id,
        consortium=fields["consortium"],
        kms_root=vector.hex("kms-root"),
        gate_public_key=gate.public,
        app=fields["app"],
        compose_hash=vector.hex("compose-hash"),
        epoch=int(fields["epoch"]),
    )
    info: SealedInfo = inspect(path)
    key = open_wrap(info.wrap, gate, context=context)
    with open_sealed(
        path,
        dek=key,
        dataset_id=vector.hex("dataset-id"),
        index_digest=vector.hex("index-digest"),
        key_commitment=vector.hex("key-commitment"),
        verify_all=True,
    ) as opened:
        assert sha256(opened.read()) == vector.hex("plain-digest")


@pytest.mark.parametrize("path", cases("sealed"), ids=_named)
def test_sealed(path: Path, tmp_path: Path) -> None:
    vector = read(path)
    archive = tmp_path / "archive.tar"
    archive.write_bytes(vector.body)
    _check(vector, lambda: _open(vector, archive))


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


@pytest.mark.parametrize("path", cases("envelope"), ids=_named)
def test_envelope(path: Path) -> None:
    vector = read(path)
    envelope = parse_envelope(vector.body)
    assert envelope.encode() == vector.body

    def verify() -> None:
        verify_statement(envelope)
        verify_receipt(envelope)

    _check(vector, verify)


@pytest.mark.parametrize("path", cases("typed"), ids=_named)
def test_typed(path: Path) -> None:
    vector = read(path)
    message = encode_typed_data(full_message=json.loads(vector.body))
    assert typed.digest(message) == vector.hex("digest")
    assert typed.sign(message, vector.hex("private-key")) == vector.hex("signature")
    assert typed.recover(message, vector.hex("signature")) == vector.fields["signer"]


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
    assert folders == set(KINDS)
    for kind in KINDS[:-1]:
        assert all(read(path).fields["comment"] for path in cases(kind))
