# SPDX-License-Identifier: Apache-2.0
"""The model file: a network's weights as safetensors, with the envelope that signs them.

A file is the length of its header as 8 little-endian bytes, the header in JSON, and the tensors' data. Ours
has one spelling: the header is canonical JSON, filled up with spaces to a multiple of 8 bytes; its
`__metadata__` has one key, `sealroom`, which holds the envelope's canonical JSON; tensors are 32-bit floats,
in the order of the layers, and nothing follows them. So there is one file of an envelope and a model, and any
library for safetensors loads it. Spec: `enclave/spec/envelope.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.envelope import Envelope, parse_envelope
from sealroom.errors import EnvelopeError, FormatError
from sealroom.recipe import parse
from sealroom.recipe.result import check_result
from sealroom.safetensors import LENGTH_BYTES, MAX_HEADER_BYTES, Tensor, read_header, write
from sealroom_agents.verification.released_model import ReleasedModel, models_of
from sealroom_agents.verification.walk import Link

KEY = "sealroom"
MAX_MODEL_BYTES = MAX_HEADER_BYTES + 8 * 1024 * 1024
"""Most bytes of a file."""
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
    return int.from_bytes(data[:LENGTH_BYTES], "little") <= len(data) - LENGTH_BYTES


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
    return write(models[field].tensors, {KEY: envelope.encode().decode()})


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


_Table = list[tuple[str, str, tuple[int, ...]]]
"""Name, type and shape of each tensor, in the order of their data."""


def _parted(data: bytes) -> tuple[bytes, _Table, bytes]:
    """The envelope in the header of a file in the one form, its table of tensors, and their data."""
    try:
        header = read_header(data)
        again = write(
            [
                Tensor(name=name, shape=each.shape, data=data[each.begin : each.end], dtype=each.dtype)
                for name, each in header.tensors.items()
            ],
            header.metadata,
        )
    except FormatError as error:
        _malformed(error.message)
    if header.metadata.keys() != {KEY}:
        _malformed(f"its metadata must have the key {KEY} alone")
    if again != data:
        _malformed("its header is not in the one accepted form")
    table = [(name, each.dtype, each.shape) for name, each in header.tensors.items()]
    return header.metadata[KEY].encode(), table, data[header.end :]


def _models(envelope: Envelope) -> tuple[ReleasedModel, ...]:
    recipe = parse(envelope.recipe)
    check_result(envelope.result, recipe)
    return models_of(envelope.result, recipe)


def _table(model: ReleasedModel) -> _Table:
    return [(tensor.name, tensor.dtype, tensor.shape) for tensor in model.tensors]


def _malformed(what: str) -> NoReturn:
    raise EnvelopeError(Code.MODEL_MALFORMED, f"this is no model file of ours: {what}")
