# SPDX-License-Identifier: Apache-2.0
"""Weights of a network from a file of tensors, for layers that a recipe lists.

The file must hold exactly the tensors that the layers give: their names, their shapes, as floats of 32 or 16
bits, all of them numbers within what the grid of weights holds. What is read is data alone, of a sealer who
is not trusted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sealroom.codes import Code
from sealroom.errors import FormatError, SealError
from sealroom.safetensors import LENGTH_BYTES, MAX_HEADER_BYTES, Stored, read_header
from sealroom.training.graph import MAX_SEALED_WEIGHTS, Graph
from sealroom.training.grids import WEIGHT_LIMIT

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats

FILE = "model.safetensors"
"""The file of a sealed folder that has the weights."""
MAX_FILE_BYTES = LENGTH_BYTES + MAX_HEADER_BYTES + 4 * MAX_SEALED_WEIGHTS
_DTYPES = ("F32", "F16", "BF16")


def read_weights(data: bytes | memoryview, graph: Graph) -> Floats:
    """The weights of all layers in order, as real numbers.

    Raises `SealError`: "weights-malformed" for what is no file of tensors, "weights-mismatch" for other ones
    than the layers have, or for one that is no number within ±64.
    """
    if len(data) > MAX_FILE_BYTES:
        raise SealError(Code.WEIGHTS_MALFORMED, f"{FILE} has more bytes than any network that is accepted")
    try:
        stored = read_header(data).tensors
    except FormatError as error:
        raise SealError(Code.WEIGHTS_MALFORMED, f"{FILE} is no file of tensors: {error.message}") from None
    expected = graph.tensors()
    if stored.keys() != {name for name, _ in expected}:
        _mismatch(f"tensors of other names than the layers give: {', '.join(name for name, _ in expected)}")
    import numpy as np

    weights: Floats = np.empty(graph.weights, dtype=np.float64)
    at = 0
    for name, shape in expected:
        tensor = stored[name]
        if tensor.shape != shape or tensor.dtype not in _DTYPES:
            wanted = " × ".join(map(str, shape))
            _mismatch(f"a tensor {name} that is not {wanted} floats of 32 or 16 bits")
        numbers = _numbers(data, tensor)
        weights[at : at + len(numbers)] = numbers
        at += len(numbers)
    if not bool((np.abs(weights) <= WEIGHT_LIMIT).all()):  # of NaN, it is not
        _mismatch(f"a weight that is no number from −{WEIGHT_LIMIT} to {WEIGHT_LIMIT}")
    return weights


def _numbers(data: bytes | memoryview, tensor: Stored) -> Any:
    import numpy as np

    held = data[tensor.begin : tensor.end]
    if tensor.dtype == "BF16":  # the upper half of 32 bits
        return (np.frombuffer(held, dtype="<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(held, dtype="<f4" if tensor.dtype == "F32" else "<f2")


def _mismatch(what: str) -> NoReturn:
    raise SealError(
        Code.WEIGHTS_MISMATCH,
        f"the network has {what}",
        "write the layers in the recipe that the file was made of: sealroom layers prints those of a module",
    )
