# SPDX-License-Identifier: Apache-2.0
"""The model file: a network's weights as safetensors, with the envelope that signs them.

A file is the length of its header as 8 little-endian bytes, the header in JSON, and the tensors' data. Ours
has one spelling: the header is canonical JSON, filled up with spaces to a multiple of 8 bytes; its
`__metadata__` has one key, `sealroom`, which holds the envelope's canonical JSON; tensors are 32-bit floats,
in the order of the layers, and nothing follows them. So a reader of ours makes the file again from the
envelope in it and compares, and any library for safetensors can load it. Spec: `enclave/spec/envelope.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.encoding import canonical, strict_json
from sealroom.envelope import MAX_ENVELOPE_BYTES, Envelope, parse_envelope
from sealroom.errors import EnvelopeError, FormatError, SealroomError
from sealroom.privacy.kind import Tensor
from sealroom.recipe import parse
from sealroom.recipe.result import check_result

METADATA, KEY = "__metadata__", "sealroom"
MAX_HEADER_BYTES = 2 * MAX_ENVELOPE_BYTES
"""Most bytes of a header: an envelope with its quotation marks escaped, and a table of tensors."""
MAX_MODEL_BYTES = MAX_HEADER_BYTES + 8 * 1024 * 1024
"""Most bytes of a file."""
_LENGTH = 8


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model file whose tensors are those that its envelope has; nothing of the envelope is verified yet."""

    envelope: Envelope
    field: str
    """The field of the result that has the tensors."""
    tensors: int
    """How many tensors there are."""
    numbers: int
    """How many numbers they have together."""


def is_model_file(data: bytes) -> bool:
    """Whether this is a file of tensors, and not an envelope: JSON begins with no length of itself."""
    return int.from_bytes(data[:_LENGTH], "little") <= len(data) - _LENGTH


def write_model(envelope: Envelope, field: str | None = None) -> bytes:
    """The model file of an envelope whose result has one model, or that one of this field.

    Raises `EnvelopeError` ("model-missing") where there is none, or several and no name; `JobError` and
    `RecipeError` for a result that is not of its own recipe.
    """
    models = _models(envelope)
    if field is None and len(models) == 1:
        [field] = models
    if field is None or field not in models:
        known = ", ".join(models) or "none"
        raise EnvelopeError(
            Code.MODEL_MISSING,
            f"the result has no model of this name, or several: {known}",
            "name one of them with --field"
            if models
            else "only a released model has a file: of too few people none is",
        )
    return _encoded(envelope, models[field])


def read_model(data: bytes) -> ModelFile:
    """Read a model file.

    Raises `EnvelopeError`: "model-malformed" for what is not exactly as `write_model` writes it,
    "model-mismatch" for other tensors than those that the envelope has, and what `parse_envelope` raises;
    `JobError` and `RecipeError` for a result that is not of its own recipe.
    """
    envelope = parse_envelope(_text_of_envelope(data))
    models = _models(envelope)
    for field, tensors in models.items():
        if _encoded(envelope, tensors) == data:
            numbers = sum(len(tensor.data) for tensor in tensors) // 4
            return ModelFile(envelope=envelope, field=field, tensors=len(tensors), numbers=numbers)
    raise EnvelopeError(
        Code.MODEL_MISMATCH,
        "the tensors of the file are not those of a model that its envelope signs",
        "take the file anew from where it was published, or write it from the envelope: sealroom model",
    )


def _text_of_envelope(data: bytes) -> bytes:
    """The envelope in the header of a file whose parts follow each other without gap and end."""
    size = int.from_bytes(data[:_LENGTH], "little")
    if len(data) < _LENGTH or size > min(MAX_HEADER_BYTES, len(data) - _LENGTH):
        _malformed("its header is longer than the file, or than any header may be")
    written = data[_LENGTH : _LENGTH + size]
    try:
        header = strict_json(written, MAX_HEADER_BYTES)
    except FormatError as error:
        _malformed(f"its header: {error.message}")
    metadata = header.pop(METADATA, None)
    if not isinstance(metadata, dict) or metadata.keys() != {KEY} or not isinstance(metadata[KEY], str):
        _malformed(f"its metadata must have the key {KEY} alone")
    end = 0
    for name, tensor in sorted(header.items(), key=lambda item: _begin(item[1])):
        if _begin(tensor) != end:
            _malformed(f"the data of the tensor {name[:80]!r} do not begin where the last ones end")
        end = tensor["data_offsets"][1]
    if end != len(data) - _LENGTH - size:
        _malformed("something follows its tensors, or something of them is missing")
    if written != _header(header, metadata[KEY]):
        _malformed("its header is not in the one accepted form")
    return str(metadata[KEY]).encode()


def _begin(tensor: Any) -> int:
    if isinstance(tensor, dict) and tensor.keys() == {"data_offsets", "dtype", "shape"}:
        offsets = tensor["data_offsets"]
        if isinstance(offsets, list) and len(offsets) == 2 and all(type(each) is int for each in offsets):
            begin, end = offsets
            if 0 <= begin <= end:
                return int(begin)
    _malformed("a tensor is not described by dtype, shape and data_offsets")


def _models(envelope: Envelope) -> dict[str, tuple[Tensor, ...]]:
    """The tensors of each field of the result that has some."""
    recipe = parse(envelope.recipe)
    check_result(envelope.result, recipe)
    fields = envelope.result["fields"]
    found = {field.name: field.kind.tensors(field.spec, fields[field.name]) for field in recipe.output.fields}
    return {name: tensors for name, tensors in found.items() if tensors}


def _encoded(envelope: Envelope, tensors: tuple[Tensor, ...]) -> bytes:
    table, at = {}, 0
    for tensor in tensors:
        end = at + len(tensor.data)
        table[tensor.name] = {"data_offsets": [at, end], "dtype": "F32", "shape": list(tensor.shape)}
        at = end
    header = _header(table, envelope.encode().decode())
    return len(header).to_bytes(_LENGTH, "little") + header + b"".join(tensor.data for tensor in tensors)


def _header(table: Mapping[str, Any], envelope: str) -> bytes:
    try:
        header = canonical({**table, METADATA: {KEY: envelope}})
    except SealroomError as error:
        _malformed(f"its header: {error.message}")
    return header + b" " * (-len(header) % 8)


def _malformed(what: str) -> NoReturn:
    raise EnvelopeError(Code.MODEL_MALFORMED, f"this is no model file of ours: {what}")
