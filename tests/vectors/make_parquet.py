# SPDX-License-Identifier: Apache-2.0
"""Makes `parquet/`: tables as polars and fastparquet write them, one file a writer and codec.

Neither is a package that Sealroom needs, so this runs by hand, where both are installed:
`python make_parquet.py`. Each writes its own version into a file, so a second run makes other bytes.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("parquet")


def from_polars() -> None:
    """Every type that polars writes."""
    import polars as pl  # type: ignore[import-not-found]

    def series(values: list[Any], kind: Any) -> Any:
        return pl.Series(values, dtype=kind)

    day, midnight = dt.date(2020, 2, 29), dt.datetime(2020, 2, 29)
    first, oldest = dt.date(1, 1, 1), dt.datetime(1970, 1, 1)
    table = pl.DataFrame(
        {
            **{
                f"{sign}{bits}": series([0, None, 7], getattr(pl, f"{sign}{bits}"))
                for sign in ("Int", "UInt")
                for bits in (8, 16, 32, 64)
            },
            "Float32": series([1.5, None, -0.0], pl.Float32),
            "Float64": [1.5, None, float("inf")],
            "Decimal": series([Decimal("1.50"), None, Decimal("-2.25")], pl.Decimal(12, 2)),
            "Boolean": [True, None, False],
            "String": ["a", None, "ä"],
            "Binary": [b"a", None, b""],
            "Date": [day, None, first],
            "Time": [dt.time(1, 2, 3), None, dt.time(0)],
            **{
                f"in {unit}": series([midnight, None, oldest], pl.Datetime(unit))
                for unit in ("ms", "us", "ns")
            },
            "in UTC": series([midnight, None, oldest], pl.Datetime("us", "UTC")),
            "Categorical": series(["x", None, "y"], pl.Categorical),
            "Enum": series(["F", None, "M"], pl.Enum(["F", "M"])),
            "List": [[1, None], None, []],
            "Struct": [{"day": day, "code": "x"}, {"day": None, "code": None}, {"day": first, "code": None}],
            "ListStruct": series([[{"a": 1, "b": ["p"]}], None, []], None),
            "Größe (cm)": [1.0, 2.0, None],
        }
    )
    for codec in ("zstd", "lz4", "snappy", "gzip", "brotli", "uncompressed"):
        table.write_parquet(FOLDER / f"polars_{codec}.parquet", compression=codec)


def from_fastparquet() -> None:
    """Every type that fastparquet writes, with timestamps as of today and as Spark wrote them."""
    import fastparquet  # type: ignore[import-not-found]
    import numpy as np
    import pandas as pd

    days = ["2020-02-29", None, "1970-01-01"]
    frame = pd.DataFrame(
        {
            **{
                f"{s}{bits}": np.array([0, 1, 7], f"{s}{bits}")
                for s in ("int", "uint")
                for bits in (8, 16, 32, 64)
            },
            "with nulls": pd.array([1, None, 3], "Int64"),
            "f32": np.array([1.5, np.nan, 0], "f4"),
            "f64": [1.5, np.nan, np.inf],
            "b": [True, False, True],
            "boolean": pd.array([True, None, False], "boolean"),
            "s": pd.Series(["a", None, "ä"], dtype=object),
            "bytes": [b"a", b"", b"xyz"],
            "cat": pd.Categorical(["x", None, "y"]),
            "ts": pd.to_datetime(days),
            "tz": pd.to_datetime(days, utc=True),
        }
    )
    for codec, times in (("GZIP", "int64"), ("SNAPPY", "int96"), ("ZSTD", "int64")):
        fastparquet.write(
            str(FOLDER / f"fastparquet_{codec.lower()}_{times}.parquet"),
            frame,
            compression=codec,
            times=times,
            object_encoding={"s": "utf8", "bytes": "bytes"},
        )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    from_polars()
    from_fastparquet()
