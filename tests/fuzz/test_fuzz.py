# SPDX-License-Identifier: Apache-2.0
"""Changed bytes: a short, random look at what `make fuzz` looks at for longer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroom.errors import SealError
from sealroom.keys import gate_root_key
from sealroom.sealed import WrapContext, inspect, open_sealed, open_wrap
from tests.fuzz.targets import TARGETS, Target
from tests.vectors.vector import FOLDER, Vector, read

MEMBERS = ("header.json", "wrap.json", "index.json")
Edit = tuple[int, str, int]
EDITS = st.lists(
    st.tuples(st.integers(0, 2**20), st.sampled_from(["flip", "insert", "delete"]), st.integers(0, 255)),
    min_size=1,
    max_size=3,
)


@cache
def seeds_of(name: str) -> list[bytes]:
    """A target's seeds, made once."""
    return TARGETS[name].seeds()


def changed(content: bytes, edits: list[Edit]) -> bytes:
    """Bits flipped, bytes put in and taken out."""
    data = bytearray(content)
    for place, kind, value in edits:
        position = place % max(1, len(data))
        if kind == "flip" and data:
            data[position] ^= 1 << value % 8
        elif kind == "insert":
            data.insert(position, value)
        elif data:
            del data[position]
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_seeds_of_a_target_pass(target: Target) -> None:
    seeds = target.seeds()
    assert seeds
    for seed in [b"", *seeds]:
        target.run(seed)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_target_takes_changed_bytes(target: Target, data: st.DataObject) -> None:
    """CE-18: no error but ours, no second encoding of one value, no plaintext that nobody sealed."""
    seed = data.draw(st.sampled_from(seeds_of(target.name)))
    target.run(changed(seed, data.draw(EDITS)))


@pytest.fixture(scope="module")
def vector() -> Vector:
    return read(FOLDER / "sealed" / "no_rows")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flipped") / "archive.tar"


def spans(archive: bytes) -> dict[str, range]:
    """Where the contents of the JSON members lie."""
    found = {}
    for name in MEMBERS:
        block = archive.index(name.encode().ljust(100, b"\0"))
        found[name] = range(block + 512, block + 512 + int(archive[block + 124 : block + 135], 8))
    return found


def opened(path: Path, vector: Vector) -> bytes:
    """All that gate and enclave do with one archive."""
    chain_id = int(vector.fields["chain-id"])
    gate = gate_root_key(vector.hex("gate-secret"), chain_id)
    context = WrapContext(
        chain_id=chain_id,
        consortium=vector.fields["consortium"],
        kms_root=vector.hex("kms-root"),
        gate_public_key=gate.public,
        app=vector.fields["app"],
        compose_hash=vector.hex("compose-hash"),
    )
    data_key = open_wrap(inspect(path).needed_wrap(), gate, context=context)
    with open_sealed(
        path,
        dek=data_key,
        header_digest=vector.hex("header-digest"),
        index_digest=vector.hex("index-digest"),
        key_commitment=vector.hex("key-commitment"),
    ) as file:
        return file.read()


@pytest.mark.parametrize("name", MEMBERS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_flipped_member_never_opens(vector: Vector, path: Path, name: str, data: st.DataObject) -> None:
    """CE-18: header, wrap and index are bound by digest and by the wrap's context, to the last bit."""
    path.write_bytes(vector.body)
    assert len(opened(path, vector)) == 300
    span = spans(vector.body)[name]
    flips = data.draw(st.sets(st.tuples(st.sampled_from(span), st.integers(0, 7)), min_size=1, max_size=3))
    archive = bytearray(vector.body)
    for position, bit in flips:
        archive[position] ^= 1 << bit
    path.write_bytes(archive)
    with pytest.raises(SealError):
        opened(path, vector)


@settings(max_examples=300, deadline=None)
@given(flips=st.sets(st.tuples(st.integers(0, 2**20), st.integers(0, 7)), min_size=1, max_size=4))
def test_an_archive_with_flipped_bits_never_opens(
    vector: Vector, path: Path, flips: set[tuple[int, int]]
) -> None:
    """CE-18, AR-02: over tar headers, padding and ciphertext too; there is no byte that nobody looks at."""
    archive = bytearray(vector.body)
    for position, bit in {(position % len(archive), bit) for position, bit in flips}:
        archive[position] ^= 1 << bit
    path.write_bytes(archive)
    with pytest.raises(SealError):
        opened(path, vector)


def test_the_command_names_its_targets_and_runs_one_input_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz"]
    listed = subprocess.run([*command, "--list"], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == list(TARGETS)
    seed = tmp_path / "seed"
    shutil.copy(FOLDER / "sealed" / "table", seed)
    assert subprocess.run([*command, "sealed-archive", "--again", str(seed)], check=False).returncode == 0
    refused = subprocess.run([*command, "no-such"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and refused.stderr.startswith("error: no target no-such\nhint: ")
