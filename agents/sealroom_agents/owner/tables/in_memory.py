# SPDX-License-Identifier: Apache-2.0
"""How much memory the values of a column take, once no dictionary, run or view keeps them short."""

from __future__ import annotations

from typing import Any

_OFFSET_BYTES = 4
"""Where one list begins."""


def unfolded_bytes(values: Any) -> int:
    """Bytes that an array takes as the type that a study reads, or somewhat more: of a slice, its own.

    The enclave has its own, for what Parquet alone can bring. Not Arrow's `nbytes`, which ends the process
    where lists within lists are empty and came without a buffer.
    """
    import pyarrow
    import pyarrow.compute as pc

    types, kind = pyarrow.types, values.type
    if not len(values):
        return 0  # nor are the places checked at which lists begin where there are none
    if types.is_dictionary(kind):
        lengths = _lengths(values.dictionary)
        return int(pc.sum(lengths.take(values.indices)).as_py() or 0)
    if types.is_run_end_encoded(kind):
        return len(values) * int(pc.max(_lengths(values.values)).as_py() or 0)
    if types.is_list(kind) or types.is_large_list(kind):
        return _OFFSET_BYTES * len(values) + unfolded_bytes(values.flatten())
    if types.is_struct(kind):
        return sum(unfolded_bytes(values.field(place)) for place in range(kind.num_fields))
    return int(pc.sum(_lengths(values)).as_py() or 0)


def _lengths(values: Any) -> Any:
    """How many bytes each value takes. Of lists in a dictionary, each as many as all of them."""
    import pyarrow
    import pyarrow.compute as pc

    types, kind, count = pyarrow.types, values.type, len(values)
    if types.is_string_view(kind) or types.is_binary_view(kind):
        # Arrow counts no views. Each is four numbers, of which the first is its length.
        numbers = pyarrow.Array.from_buffers(
            pyarrow.int32(), 4 * count, [None, values.buffers()[1]], offset=4 * values.offset
        )
        return numbers.take(pyarrow.array(range(0, 4 * count, 4))).cast(pyarrow.int64())
    if types.is_null(kind):
        each = 1
    elif types.is_primitive(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind):
        each = -(-kind.bit_width // 8)
    elif types.is_nested(kind):
        each = int(values.get_total_buffer_size())
    else:
        return pc.binary_length(values).cast(pyarrow.int64())
    return pyarrow.repeat(pyarrow.scalar(each, pyarrow.int64()), count)
