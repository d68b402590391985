# SPDX-License-Identifier: Apache-2.0
"""Weights from a file of tensors, of a sealer who is not trusted: exactly those of the layers, or none."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sealroom.errors import FormatError, SealError
from sealroom.safetensors import MAX_HEADER_BYTES, Tensor, read_header, write
from sealroom.training.graph import Graph
from sealroom.training.weights import read_weights

GRAPH = Graph.read([{"linear": 3}, "tanh", {"linear": 2}], inputs=4, outputs=None)


def tensors(dtype: str = "F32", seed: int = 1) -> list[Tensor]:
    """Weights of the layers, of small numbers that 16 bits hold exactly."""
    dice = np.random.default_rng(seed)
    made = []
    for name, shape in GRAPH.tensors():
        numbers = (dice.integers(-32, 33, shape) / 16).astype("<f4")
        held = {
            "F32": numbers.tobytes(),
            "F16": numbers.astype("<f2").tobytes(),
            "BF16": (numbers.view("<u4") >> 16).astype("<u2").tobytes(),
        }
        made.append(Tensor(name=name, shape=shape, data=held[dtype], dtype=dtype))
    return made


GOOD = write(tensors())


def parted(file: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data."""
    size = int.from_bytes(file[:8], "little")
    return json.loads(file[8 : 8 + size]), file[8 + size :]


def joined(header: dict[str, Any] | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_floats_of_32_and_16_bits_are_read_in_the_order_of_the_layers(dtype: str) -> None:
    expected = np.concatenate([np.frombuffer(each.data, "<f4") for each in tensors()])
    assert (read_weights(write(tensors(dtype)), GRAPH) == expected).all()
    # in whatever order they lie in the file, beside whatever it says of itself
    file = write(tensors(dtype)[::-1], {"format": "pt", "trained on": "what its owner says"})
    assert (read_weights(file, GRAPH) == expected).all()
    assert read_header(file).metadata["format"] == "pt"


def test_the_library_of_the_format_writes_what_is_read_and_reads_what_is_written() -> None:
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    held = {each.name: np.frombuffer(each.data, "<f4").reshape(each.shape) for each in tensors()}
    assert (read_weights(library.save(held), GRAPH) == read_weights(GOOD, GRAPH)).all()
    loaded = library.load(GOOD)
    assert loaded.keys() == held.keys() and all((loaded[name] == held[name]).all() for name in held)


def _edited(edit: Callable[[dict[str, Any]], Any]) -> bytes:
    header, data = parted(GOOD)
    edit(header)
    return joined(header, data)


def _with(place: int, number: float) -> bytes:
    header, data = parted(GOOD)
    return joined(header, data[: 4 * place] + struct.pack("<f", number) + data[4 * place + 4 :])


def _twice() -> bytes:
    header, data = parted(GOOD)
    text = json.dumps(header)
    return joined((text[:-1] + ',"0.bias":' + json.dumps(header["0.bias"]) + "}").encode(), data)


def _extra() -> bytes:
    return write([*tensors(), Tensor(name="4.weight", shape=(1,), data=bytes(4))])


def _renamed() -> bytes:
    first, *rest = tensors()
    return write([Tensor(name="O.weight", shape=first.shape, data=first.data), *rest])


def _transposed() -> bytes:
    first, *rest = tensors()
    return write([Tensor(name=first.name, shape=first.shape[::-1], data=first.data), *rest])


def _doubles() -> bytes:
    return write(
        [
            Tensor(name=each.name, shape=each.shape, data=2 * each.data, dtype="F64")
            for each in tensors()
        ]
    )  # fmt: skip


def _offsets(begin: Any, end: Any) -> bytes:
    return _edited(lambda header: header["2.bias"].update(data_offsets=[begin, end]))


MALFORMED: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a length alone": lambda: bytes(8),
    "a header that is cut": lambda: GOOD[:40],
    "data that are cut": lambda: GOOD[:-1],
    "a byte behind": lambda: GOOD + b"\0",
    "a header beyond the file": lambda: (2**63).to_bytes(8, "little") + GOOD[8:],
    "a header beyond all bounds": lambda: joined(b" " * (MAX_HEADER_BYTES + 1), b""),
    "a list": lambda: joined(b"[]", b""),
    "no JSON": lambda: joined(b"\x80\x02}q\x00.", b""),
    "a name twice": _twice,
    "deep nesting": lambda: joined(b'{"a":' * 500 + b"0" + b"}" * 500, b""),
    "more tensors than any network has": lambda: write(
        [Tensor(name=f"{n}.weight", shape=(0,), data=b"") for n in range(1025)]
    ),
    "metadata that are no texts": lambda: _edited(lambda header: header.update(__metadata__={"a": 1})),
    "a member more": lambda: _edited(lambda header: header["2.bias"].update(more=1)),
    "a member less": lambda: _edited(lambda header: header["2.bias"].pop("dtype")),
    "an unknown type": lambda: _edited(lambda header: header["2.bias"].update(dtype="F31")),
    "a type that is a list": lambda: _edited(lambda header: header["2.bias"].update(dtype=["F32"])),
    "a negative shape": lambda: _edited(lambda header: header["2.bias"].update(shape=[-2])),
    "a shape of truth": lambda: _edited(lambda header: header["2.bias"].update(shape=[True, 2])),
    "a shape that overflows": lambda: _edited(
        lambda header: header["2.bias"].update(shape=[2**32, 2**32, 2**32])
    ),
    "a shape of a hundred numbers": lambda: _edited(
        lambda header: header["2.bias"].update(shape=[1] * 99 + [2])
    ),
    "a shape that says another size": lambda: _edited(lambda header: header["2.bias"].update(shape=[3])),
    "offsets that go back": lambda: _offsets(92, 84),
    "offsets that overlap": lambda: _offsets(80, 88),
    "offsets with a gap": lambda: _offsets(85, 93),
    "offsets beyond the file": lambda: _offsets(2**52, 2**52 + 8),
    "offsets as texts": lambda: _offsets("84", "92"),
}

MISMATCH: dict[str, Callable[[], bytes]] = {
    "a tensor more": _extra,
    "a tensor less": lambda: write(tensors()[:-1]),
    "no tensor": lambda: write([]),
    "another name": _renamed,
    "another shape": _transposed,
    "floats of 64 bits": _doubles,
    "whole numbers": lambda: _edited(lambda header: header["2.bias"].update(dtype="I32")),
    "NaN": lambda: _with(0, float("nan")),
    "infinity": lambda: _with(22, float("inf")),
    "a weight beyond the grid": lambda: _with(5, -64.001),
}


@pytest.mark.parametrize("lie", [*MALFORMED, *MISMATCH])
def test_hostile_files_are_refused_by_a_code(lie: str) -> None:
    """AR-13: of a sealer who writes what they like."""
    code = "weights-malformed" if lie in MALFORMED else "weights-mismatch"
    with pytest.raises(SealError) as caught:
        read_weights({**MALFORMED, **MISMATCH}[lie](), GRAPH)
    assert caught.value.code == code


def test_no_byte_that_is_another_raises_anything_else() -> None:
    dice = np.random.default_rng(3)
    for _ in range(400):
        changed = bytearray(GOOD)
        for _ in range(int(dice.integers(1, 4))):
            changed[int(dice.integers(0, len(changed)))] = int(dice.integers(0, 256))
        try:
            found = read_weights(bytes(changed), GRAPH)
        except SealError as error:
            assert error.code in ("weights-malformed", "weights-mismatch")
        else:
            assert (np.abs(found) <= 64).all()


def test_a_header_says_where_each_tensor_lies() -> None:
    header = read_header(memoryview(GOOD))
    assert list(header.tensors) == [name for name, _ in GRAPH.tensors()]
    last = header.tensors["2.bias"]
    assert (last.dtype, last.shape, last.end) == ("F32", (2,), len(GOOD))
    with pytest.raises(FormatError):
        read_header(GOOD[:-1])
