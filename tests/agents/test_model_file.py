# SPDX-License-Identifier: Apache-2.0
"""The model file is the receipt: any byte that is another breaks it, and what is in it can be verified."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tests.agents.shell import shell
from tests.agents.worked import fresh_platform, make_gate
from tests.agents.worked_model import model_run
from tests.pages import unprinted

from sealroom.encoding import from_base64
from sealroom.envelope import Envelope
from sealroom.errors import EnvelopeError
from sealroom_agents.simulator import SimulatedPlatform
from sealroom_agents.verification.model_file import is_model_file, model_links, read_model, write_model


@pytest.fixture(scope="module")
def platform() -> SimulatedPlatform:
    return fresh_platform()


@pytest.fixture(scope="module")
def envelope(platform: SimulatedPlatform, tmp_path_factory: pytest.TempPathFactory) -> Envelope:
    return model_run(tmp_path_factory.mktemp("recipe"), platform, make_gate(platform)).envelope()


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
    assert data == from_base64(envelope.result["fields"]["risk"]["model"][0]["weights"])
    assert len(file) % 8 == 0 and joined(parted(file)[0], data) == file
    read = read_model(file)
    assert (read.envelope, read.model.field, read.model.numbers) == (envelope, "risk", 16)
    assert [link.ok for link in model_links(read)] == [True, True]
    assert is_model_file(file) and not is_model_file(envelope.encode())


def test_the_library_of_the_format_loads_it_with_its_metadata(
    envelope: Envelope, file: bytes, tmp_path: Path
) -> None:
    """Tools around the format read metadata as a mapping of text to text."""
    (tmp_path / "model.safetensors").write_bytes(file)
    loaded = load_file(tmp_path / "model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in loaded.items()} == {
        "0.weight": (3, 3), "0.bias": (3,), "2.weight": (1, 3), "2.bias": (1,),
    }  # fmt: skip
    whole = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    whole.load_state_dict(loaded)
    flat = torch.cat([tensor.flatten() for tensor in whole.state_dict().values()])
    assert flat.numpy().tobytes() == parted(file)[1]
    with safe_open(tmp_path / "model.safetensors", "np") as opened:
        assert opened.metadata() == {"sealroom": envelope.encode().decode()}
        assert list(opened.keys()) == ["0.bias", "0.weight", "2.bias", "2.weight"]


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


def _foreign(header: dict[str, Any]) -> None:
    envelope = json.loads(header["__metadata__"]["sealroom"])
    envelope["anchor"] = None
    header["__metadata__"]["sealroom"] = json.dumps(envelope)


def _larger(header: dict[str, Any], data: bytes) -> bytes:
    header["3.bias"] = {"data_offsets": [64, 68], "dtype": "F32", "shape": [1]}
    return joined(header, data + bytes(4))


LIES: dict[str, tuple[Callable[[dict[str, Any], bytes], bytes], str]] = {
    "a tensor more": (_larger, "model-mismatch"),
    "an empty tensor more": (
        _edited(lambda header: header.update(x={"data_offsets": [64, 64], "dtype": "F32", "shape": [0]})),
        "model-mismatch",
    ),
    "a tensor too few": (
        lambda header, data: joined({k: v for k, v in header.items() if k != "2.bias"}, data[:-4]),
        "model-mismatch",
    ),
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
    "metadata that are no text": (
        _edited(lambda header: header["__metadata__"].update(sealroom={})), "model-malformed"
    ),
    "an envelope in another spelling": (_edited(_foreign), "model-malformed"),
    "a shape that is no list": (
        _edited(lambda header: header["2.bias"].update(shape="1")), "model-malformed"
    ),
    "a length beyond what 64 bits say": (_edited(
        lambda header: header["2.bias"].update(data_offsets=[60, 2**53 - 1])), "model-malformed"
    ),
    "a header that is deeply nested": (
        lambda header, data: joined(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", data),
        "model-malformed",
    ),
    "a header of many tensors": (
        lambda header, data: joined(
            {f"{n}": {"data_offsets": [0, 0], "dtype": "F32", "shape": [0]} for n in range(50_000)}, data
        ),
        "model-malformed",
    ),
    "a header in another character set": (
        lambda header, data: joined(json.dumps(header).encode("utf-16"), data), "model-malformed"
    ),
    "an envelope that is none": (
        _edited(lambda header: header["__metadata__"].update(sealroom="{}")), "malformed"
    ),
}  # fmt: skip


def broken(file: bytes) -> list[tuple[str, str | None]]:
    """The links of a file that do not hold, with their codes."""
    return [(link.name, link.code) for link in model_links(read_model(file)) if not link.ok]


def test_a_changed_weight_breaks_the_digest_and_the_chain_each_by_its_name(file: bytes) -> None:
    both = [("weights", "model-mismatch"), ("checkpoints", "checkpoints-mismatch")]
    header, data = parted(file)
    assert broken(_weight(header, data)) == both
    for place in range(0, len(data), 4):
        for bit in (0, 31):
            changed = bytearray(data)
            changed[place + bit // 8] ^= 1 << bit % 8
            assert broken(joined(header, bytes(changed))) == both


def test_weights_of_another_run_under_this_envelope_break_both_links(
    platform: SimulatedPlatform, file: bytes, tmp_path: Path
) -> None:
    other = parted(write_model(model_run(tmp_path / "other", platform, make_gate(platform)).envelope()))
    assert broken(joined(*other)) == []
    header, data = parted(file)
    both = ["weights", "checkpoints"]
    assert [name for name, _ in broken(joined(header, other[1]))] == both
    assert [name for name, _ in broken(joined(other[0], data))] == both


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
        try:
            assert broken(bytes(changed))
        except EnvelopeError as error:
            assert error.code in ("model-malformed", "model-mismatch")


def test_sealroom_verify_walks_the_links_of_a_model_file(
    platform: SimulatedPlatform, envelope: Envelope, file: bytes, tmp_path: Path
) -> None:
    (tmp_path / "root.der").write_bytes(platform.root_der)
    (tmp_path / "envelope.json").write_bytes(envelope.encode())
    done = shell("sealroom model envelope.json --out model.safetensors --json", tmp_path)
    assert json.loads(done.stdout) == {"ok": True, "field": "risk", "tensors": 4, "numbers": 16}
    assert (tmp_path / "model.safetensors").read_bytes() == file
    verify = "sealroom verify model.safetensors --simulated-root root.der"
    done = shell(verify, tmp_path)
    assert done.returncode == 4, done.stdout
    assert "16 numbers of the field risk" in done.stdout and "report-data" in done.stdout
    (tmp_path / "model.safetensors").write_bytes(_weight(*parted(file)))
    done = shell(f"{verify} --json 2>/dev/null", tmp_path)
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"], told["enclaveProven"]) == (1, "broken", False)
    assert [(link["name"], link["ok"], link["code"]) for link in told["links"]] == [
        ("weights", False, "model-mismatch"), ("checkpoints", False, "checkpoints-mismatch")
    ]  # fmt: skip
    done = shell(verify, tmp_path)
    assert "the link weights is broken" in done.stdout and "BROKEN  checkpoints" in done.stdout
    (tmp_path / "model.safetensors").write_bytes(joined(*parted(file)) + b"\0")
    done = shell(f"{verify} --json 2>/dev/null", tmp_path)
    assert done.returncode == 1 and json.loads(done.stdout)["code"] == "model-malformed"


def test_the_page_of_the_fraud_study_shows_what_the_commands_print(
    platform: SimulatedPlatform, envelope: Envelope, tmp_path: Path
) -> None:
    """Of another model: the name of its field and all numbers are others."""
    (tmp_path / "root.der").write_bytes(platform.root_der)
    (tmp_path / "envelope.json").write_bytes(envelope.encode())
    done = shell(
        "sealroom model envelope.json --out model.safetensors;"
        " sealroom verify model.safetensors --simulated-root root.der --attestation attestation.json",
        tmp_path,
    )
    page = "enclave/studies/cross-bank-fraud/README.md"
    found = done.stdout.replace("field risk", "field joint_model")
    assert "joint_model" in found and unprinted(page, found) == [], found
