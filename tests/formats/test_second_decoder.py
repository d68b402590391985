# SPDX-License-Identifier: Apache-2.0
"""A second decoder, written from the page alone and on other libraries, agrees with ours on every vector.

It runs in Node: `second_decoder/decoder.mjs`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sealroom.encoding import sha256
from sealroom.sealed import seal
from tests.formats.sealing import Sealed
from tests.formats.worked import CONTEXT, GATE_SIGNER, OWNER, secret
from tests.patience import PATIENCE_S
from tests.vectors.vector import Vector, cases, read

RUN = Path(__file__).parent / "second_decoder" / "run.mjs"
STAGES = {"HeaderError": "header", "WrapError": "wrap", "SealIndexError": "index", "PartError": "part"}


def decode(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """What the second decoder makes of these files, by their names."""
    done = subprocess.run(
        ["node", str(RUN), *map(str, paths)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {path.name: line for path, line in zip(paths, lines, strict=True)}


@pytest.fixture(scope="module")
def decoded() -> dict[str, dict[str, Any]]:
    return decode(cases("sealed"))


@pytest.mark.parametrize("path", cases("sealed"), ids=lambda path: path.name)
def test_the_second_decoder_agrees(path: Path, decoded: dict[str, dict[str, Any]]) -> None:
    """The same plaintext, or a refusal by the same step, at the same stage, with the same code."""
    fields, outcome = read(path).fields, decoded[path.name]
    if fields["expect"] == "success":
        found = (outcome["plain"], outcome["signer"], outcome["dataset"])
        assert found == (fields["plain-digest"], fields.get("signer"), fields["dataset-id"])
    else:
        found = (outcome["at"], outcome.get("stage"), outcome.get("code"))
        assert found == (fields["at"], STAGES[fields["stage"]], fields["expect"])


def test_the_second_decoder_opens_what_sealroom_seals(sealed: Sealed, tmp_path: Path) -> None:
    """The vectors are not made by `sealroom`; this dataset is, with real randomness and a signature."""
    from sealroom import typed
    from sealroom.keys import address_of

    path = tmp_path / "fresh.tar"
    summary = seal(
        sealed.source,
        path,
        recipient=CONTEXT,
        owner=OWNER,
        name="fresh",
        sign=lambda index: typed.sign(index.message(), GATE_SIGNER),
    )
    fields = {
        "gate-secret": secret("gate root").hex(),
        "chain-id": str(CONTEXT.chain_id),
        "consortium": CONTEXT.consortium,
        "kms-root": CONTEXT.kms_root.hex(),
        "app": CONTEXT.app,
        "compose-hash": CONTEXT.compose_hash.hex(),
        "header-digest": summary.header_digest.hex(),
        "index-digest": summary.index_digest.hex(),
        "key-commitment": summary.key_commitment.hex(),
    }
    vector = tmp_path / "fresh"
    Vector(fields, path.read_bytes()).write(vector)

    outcome = decode([vector])["fresh"]

    assert outcome["plain"] == sha256(sealed.source.read_bytes()).hex()
    assert outcome["dataset"] == summary.dataset_id.hex()
    assert outcome["signer"] == address_of(GATE_SIGNER)


def test_the_second_decoder_is_short_and_knows_no_python() -> None:
    text = RUN.with_name("decoder.mjs").read_text()
    assert len(text.splitlines()) <= 230 and "child_process" not in text
