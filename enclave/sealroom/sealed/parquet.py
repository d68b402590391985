# SPDX-License-Identifier: Apache-2.0
"""What a Parquet footer says: columns and rows. No row is decoded, and pyarrow is imported only here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sealroom.errors import SealError
from sealroom.schema import COLUMN_TYPES, Column
from sealroom.sealed.header import check_columns

_ARROW_NAMES = {"double": "float64"}
"""Arrow prints the type that everyone calls float64 as `double`."""


def read_footer(path: Path) -> tuple[tuple[Column, ...], int]:
    """Columns in the file's order, and the number of rows. Raises `SealError` with code `not-parquet`."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path, memory_map=False) as parquet:
            schema: Any = parquet.schema_arrow
            rows = int(parquet.metadata.num_rows)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise SealError("not-parquet", f"cannot read {path} as Parquet: {error}") from None
    columns = [Column(field.name, _ARROW_NAMES.get(str(field.type), str(field.type))) for field in schema]
    checked = check_columns(columns)
    if checked is None:
        wrong = [f"{name} ({kind})" for name, kind in columns if kind not in COLUMN_TYPES]
        wrong = wrong or ["a name is not plain, or there twice"]
        raise SealError(
            "schema-unsupported",
            f"{path} has columns that a study cannot use: {', '.join(wrong)}",
            f"columns must have plain names and be {', '.join(sorted(COLUMN_TYPES))}",
        )
    return checked, rows
