# SPDX-License-Identifier: Apache-2.0
"""The model file is the receipt: any byte that is another breaks it, and what is in it can be verified."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.agents.shell import shell
from tests.agents.worked import STUDY_YAML, fresh_platform, make_gate, make_run, render_recipe

from sealroom.encoding import from_base64
from sealroom.envelope import Envelope
from sealroom.errors import EnvelopeError
from sealroom.privacy.people import People
from sealroom.privacy.release import compute
from sealroom.recipe import parse
from sealroom.recipe.result import build_result
from sealroom_agents.simulator import SimulatedPlatform
from sealroom_agents.verification.model_file import is_model_file, read_model, write_model

FIELD = """\
    - name: risk
      kind: model
      features: [{name: age, lower: 20, upper: "90"}]
      groups: [sex]
      layers: [{linear: 3}, tanh, {linear: 1}]
      loss: binary
      label: ill
      held_out: held
      batch: 1
      clip: 1
      steps: 2
      learning_rate: "0.5"
      momentum: 0
      seed: 7
      curve: 2
      decimals: 3
"""
STUDY = (
    STUDY_YAML.partition("  fields:")[0].replace('delta: "0"', 'delta: "1e-6"')
    + "  fields:\n" + FIELD
).replace("sex: string}", "sex: string, ill: bool, held: bool}")  # fmt: skip


@pytest.fixture(scope="module")
def platform() -> SimulatedPlatform:
    return fresh_platform()


@pytest.fixture(scope="module")
def envelope(platform: SimulatedPlatform, tmp_path_factory: pytest.TempPathFactory) -> Envelope:
    compose = render_recipe(tmp_path_factory.mktemp("recipe"), study=STUDY)
    recipe = parse(compose)
    dice = np.random.default_rng(1)
    people = People(
        count=4000,
        numbers={
            "age": dice.uniform(20, 90, 4000),
            **{name: dice.integers(0, 2, 4000).astype(np.float64) for name in ("ill", "held")},
        },
        groups={"sex": dice.integers(0, 2, 4000)},
    )
    [field] = recipe.output.fields
    fields = {"risk": compute(field, people, cohort=20)}
    run = make_run(platform, make_gate(platform), compose)
    return replace(run, result=build_result(fields, recipe)).envelope()


@pytest.fixture(scope="module")
def file(envelope: Envelope) -> bytes:
    return write_model(envelope)


def parted(file: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data."""
    size = int.from_bytes(file[:8], "little")
    return json.loads(file[8 : 8 + size]), file[8 + size :]


def joined(header: dict[str, Any] | bytes, data: bytes) -> bytes:
    if not isinstance(header, bytes):
        header = json.dumps(header, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
        header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


def test_the_file_has_the_signed_weights_and_the_envelope(envelope: Envelope, file: bytes) -> None:
    header, data = parted(file)
    assert header.pop("__metadata__") == {"sealroom": envelope.encode().decode()}
    assert header == {
        "0.bias": {"data_offsets": [36, 48], "dtype": "F32", "shape": [3]},
        "0.weight": {"data_offsets": [0, 36], "dtype": "F32", "shape": [3, 3]},
        "2.bias": {"data_offsets": [60, 64], "dtype": "F32", "shape": [1]},
        "2.weight": {"data_offsets": [48, 60], "dtype": "F32", "shape": [1, 3]},
    }
    steps = np.frombuffer(from_base64(envelope.result["fields"]["risk"]["model"][0]["weights"]), "<i4")
    assert (np.frombuffer(data, "<f4") == (steps / 2.0**24).astype(np.float32)).all()
    assert len(file) % 8 == 0 and joined(parted(file)[0], data) == file
    read = read_model(file)
    assert (read.envelope, read.field, read.tensors, read.numbers) == (envelope, "risk", 4, 16)
    assert is_model_file(file) and not is_model_file(envelope.encode())
    whole = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    whole.load_state_dict(
        {
            name: torch.frombuffer(
                bytearray(data[slice(*each["data_offsets"])]), dtype=torch.float32
            ).reshape(each["shape"])
            for name, each in header.items()
        }
    )


def test_the_library_of_the_format_loads_it(file: bytes) -> None:
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    loaded = safetensors.load(file)
    assert loaded["0.weight"].shape == (3, 3) and loaded["0.weight"].dtype == np.float32


def _weight(header: dict[str, Any], data: bytes) -> bytes:
    [first] = struct.unpack("<f", data[:4])
    return joined(header, struct.pack("<f", np.nextafter(np.float32(first), np.float32(9))) + data[4:])


def _edited(edit: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any], bytes], bytes]:
    def change(header: dict[str, Any], data: bytes) -> bytes:
        edit(header)
        return joined(header, data)

    return change


def _twice(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return joined((text[:-1] + ',"0.bias":' + json.dumps(header["0.bias"]) + "}").encode(), data)


def _swapped(header: dict[str, Any]) -> None:
    header["0.weight"]["shape"], header["2.weight"]["shape"] = [9], [3, 1]


LIES: dict[str, tuple[Callable[[dict[str, Any], bytes], bytes], str]] = {
    "a weight by one unit in the last place": (_weight, "model-mismatch"),
    "another shape": (_edited(_swapped), "model-mismatch"),
    "another name": (_edited(lambda header: header.update(x=header.pop("0.bias"))), "model-mismatch"),
    "a second metadata key": (
        _edited(lambda header: header["__metadata__"].update(format="pt")), "model-malformed"
    ),
    "no envelope": (_edited(lambda header: header["__metadata__"].clear()), "model-malformed"),
    "no metadata": (_edited(lambda header: header.pop("__metadata__")), "model-malformed"),
    "a key twice": (_twice, "model-malformed"),
    "a byte behind": (lambda header, data: joined(header, data + b"\0"), "model-malformed"),
    "a byte too few": (lambda header, data: joined(header, data[:-1]), "model-malformed"),
    "other white space": (
        lambda header, data: joined(json.dumps(header, sort_keys=True).encode(), data), "model-malformed"
    ),
    "an overlap": (
        _edited(lambda header: header["2.bias"].update(data_offsets=[56, 60])), "model-malformed"
    ),
    "offsets that are none": (
        _edited(lambda header: header["2.bias"].update(data_offsets=[60, True])), "model-malformed"
    ),
    "another type of numbers": (
        _edited(lambda header: header["2.bias"].update(dtype="I32")), "model-mismatch"
    ),
    "a member more": (_edited(lambda header: header["2.bias"].update(more=1)), "model-malformed"),
    "a header that is cut": (lambda header, data: joined(b"{", data), "model-malformed"),
    "a header that is too long": (
        lambda header, data: (2**40).to_bytes(8, "little") + data, "model-malformed"
    ),
    "an envelope that is none": (
        _edited(lambda header: header["__metadata__"].update(sealroom="{}")), "malformed"
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_whatever_is_changed_breaks_the_file_by_a_code(lie: str, file: bytes) -> None:
    change, code = LIES[lie]
    with pytest.raises(EnvelopeError) as caught:
        read_model(change(*parted(file)))
    assert caught.value.code == code


def test_every_bit_outside_the_envelope_counts(file: bytes) -> None:
    """What is in the envelope has its own links."""
    dice = np.random.default_rng(2)
    table, data = file.index(b'"__metadata__"'), len(parted(file)[1])
    for place in (*range(8), *dice.integers(8, table, 30), *dice.integers(len(file) - data, len(file), 30)):
        changed = bytearray(file)
        changed[place] ^= 1 << int(dice.integers(0, 8))
        with pytest.raises(EnvelopeError) as caught:
            read_model(bytes(changed))
        assert caught.value.code in ("model-malformed", "model-mismatch")


def test_sealroom_verify_walks_the_links_of_a_model_file(
    platform: SimulatedPlatform, envelope: Envelope, file: bytes, tmp_path: Path
) -> None:
    (tmp_path / "root.der").write_bytes(platform.root_der)
    (tmp_path / "envelope.json").write_bytes(envelope.encode())
    done = shell("sealroom model envelope.json --out model.safetensors --json", tmp_path)
    assert json.loads(done.stdout) == {"field": "risk", "tensors": 4, "numbers": 16}
    assert (tmp_path / "model.safetensors").read_bytes() == file
    verify = "sealroom verify model.safetensors --simulated-root root.der"
    done = shell(verify, tmp_path)
    assert done.returncode == 4, done.stdout
    assert "16 numbers of the field risk" in done.stdout and "report-data" in done.stdout
    (tmp_path / "model.safetensors").write_bytes(_weight(*parted(file)))
    done = shell(f"{verify} --json 2>/dev/null", tmp_path)
    assert done.returncode == 1 and json.loads(done.stdout)["code"] == "model-mismatch"
