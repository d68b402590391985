# SPDX-License-Identifier: Apache-2.0
"""The model file: a network's weights as safetensors, with the envelope that signs them.

A file is the length of its header as 8 little-endian bytes, the header in JSON, and the tensors' data. Ours
has one spelling: the header is canonical JSON, filled up with spaces to a multiple of 8 bytes; its
`__metadata__` has one key, `sealroom`, which holds the envelope's canonical JSON; tensors are 32-bit floats,
in the order of the layers, and nothing follows them. So there is one file of an envelope and a model, and any
library for safetensors loads it. Spec: `enclave/spec/envelope.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.encoding import canonical, sha256, strict_json, to_hex
from sealroom.envelope import MAX_ENVELOPE_BYTES, Envelope, parse_envelope
from sealroom.errors import EnvelopeError, FormatError, SealroomError
from sealroom.recipe import parse
from sealroom.recipe.result import check_result
from sealroom_agents.verification.released_model import ReleasedModel, models_of
from sealroom_agents.verification.walk import Link

METADATA, KEY = "__metadata__", "sealroom"
MAX_HEADER_BYTES = 2 * MAX_ENVELOPE_BYTES
"""Most bytes of a header: an envelope with its quotation marks escaped, and a table of tensors."""
MAX_MODEL_BYTES = MAX_HEADER_BYTES + 8 * 1024 * 1024
"""Most bytes of a file."""
_LENGTH = 8
_ANEW = "take the file anew from where it was published, or write it from the envelope: sealroom model"


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model file in the one form, whose tensors have the names and shapes of a model of its envelope.

    What `check_weights` and `check_chain` do not raise is verified; nothing of the envelope is.
    """

    envelope: Envelope
    model: ReleasedModel
    """The model that the envelope has."""
    weights: bytes
    """The data of the tensors, as the file has them."""

    def check_weights(self) -> None:
        """Check that each weight is the signed one. Raises `EnvelopeError` "model-mismatch"."""
        if self.weights != self.model.weights:
            raise EnvelopeError(
                Code.MODEL_MISMATCH,
                f"the weights are {to_hex(sha256(self.weights))}, and the envelope signs "
                f"{to_hex(self.model.digest)} for {self.model.field}",
                _ANEW,
            )

    def check_chain(self) -> None:
        """Check that the hash chain of checkpoints ends in the file's own weights.

        Raises `EnvelopeError` "checkpoints-mismatch".
        """
        self.model.check_chain(self.weights)


def model_links(file: ModelFile) -> list[Link]:
    """The two links that bind a file's weights to its envelope, whether or not the first one holds."""
    model = file.model
    return [
        _link("weights", file.check_weights, f"{model.numbers:,} numbers of the field {model.field}, "
              f"sha256 {to_hex(model.digest)}, as the envelope in the file has them"),
        _link("checkpoints", file.check_chain, f"a chain of {model.chain.steps:,} checkpoints ends in these "
              f"weights, head {to_hex(model.chain.head)}"),
    ]  # fmt: skip


def _link(name: str, check: Callable[[], None], found: str) -> Link:
    try:
        check()
    except EnvelopeError as error:
        return Link(name, ok=False, detail=error.message, code=error.code, check=f"model.{name}")
    return Link(name, ok=True, detail=found)


def is_model_file(data: bytes) -> bool:
    """Whether this is a file of tensors, and not an envelope: JSON begins with no length of itself."""
    return int.from_bytes(data[:_LENGTH], "little") <= len(data) - _LENGTH


def write_model(envelope: Envelope, field: str | None = None) -> bytes:
    """The model file of an envelope whose result has one model, or that one of this field.

    Raises `EnvelopeError` ("model-missing") where there is none, or several and no name; `JobError` and
    `RecipeError` for a result that is not of its own recipe.
    """
    models = {model.field: model for model in _models(envelope)}
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
    model = models[field]
    header = _header(_table(model), envelope.encode().decode())
    return len(header).to_bytes(_LENGTH, "little") + header + model.weights


def read_model(data: bytes) -> ModelFile:
    """Read a model file whose weights are still to check.

    Raises `EnvelopeError`: "model-malformed" for another form than `write_model` writes, "model-mismatch" for
    tensors of other names or shapes than those that the envelope has, and what `parse_envelope` raises;
    `JobError` and `RecipeError` for a result that is not of its own recipe.
    """
    text, table, weights = _parted(data)
    envelope = parse_envelope(text)
    if envelope.encode() != text:
        _malformed("the envelope in it is not in canonical JSON")
    alike = [model for model in _models(envelope) if _table(model) == table]
    if not alike:
        raise EnvelopeError(
            Code.MODEL_MISMATCH,
            "the tensors of the file have other names or shapes than those that its envelope signs",
            _ANEW,
        )
    model = next((each for each in alike if each.weights == weights), alike[0])
    return ModelFile(envelope=envelope, model=model, weights=weights)


def _parted(data: bytes) -> tuple[bytes, dict[str, Any], bytes]:
    """The envelope in the header of a file whose parts follow each other without gap and end, its table of
    tensors, and their data."""
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
    return str(metadata[KEY]).encode(), header, data[_LENGTH + size :]


def _begin(tensor: Any) -> int:
    if isinstance(tensor, dict) and tensor.keys() == {"data_offsets", "dtype", "shape"}:
        offsets = tensor["data_offsets"]
        if isinstance(offsets, list) and len(offsets) == 2 and all(type(each) is int for each in offsets):
            begin, end = offsets
            if 0 <= begin <= end:
                return int(begin)
    _malformed("a tensor is not described by dtype, shape and data_offsets")


def _models(envelope: Envelope) -> tuple[ReleasedModel, ...]:
    recipe = parse(envelope.recipe)
    check_result(envelope.result, recipe)
    return models_of(envelope.result, recipe)


def _table(model: ReleasedModel) -> dict[str, Any]:
    table, at = {}, 0
    for tensor in model.tensors:
        end = at + len(tensor.data)
        table[tensor.name] = {"data_offsets": [at, end], "dtype": "F32", "shape": list(tensor.shape)}
        at = end
    return table


def _header(table: Mapping[str, Any], envelope: str) -> bytes:
    try:
        header = canonical({**table, METADATA: {KEY: envelope}})
    except SealroomError as error:
        _malformed(f"its header: {error.message}")
    return header + b" " * (-len(header) % 8)


def _malformed(what: str) -> NoReturn:
    raise EnvelopeError(Code.MODEL_MALFORMED, f"this is no model file of ours: {what}")
