# SPDX-License-Identifier: Apache-2.0
"""Table schemas: names, column types, and the digest that names a schema.

`types` are the types themselves, `text` their one written form, `columns` the columns of a table, `arrow` the
same in Arrow, `names` what may be a name. Spec: `enclave/spec/column-types.md`.
"""

from sealroom.schema.columns import (
    MAX_COLUMNS,
    MAX_ROWS,
    Column,
    check_columns,
    misfits,
    plain_columns,
    read_columns,
    schema_hash,
)
from sealroom.schema.names import (
    DATASET_NAME,
    FIELD_NAME,
    OWNER_ID,
    SCHEMA_NAME,
    check_column_name,
)
from sealroom.schema.text import parse_type, plain_type
from sealroom.schema.types import (
    Binary,
    Bool,
    Category,
    ColumnType,
    Date,
    Decimal,
    Integer,
    List,
    Real,
    String,
    Struct,
    Time,
    Timestamp,
)

__all__ = [
    "DATASET_NAME",
    "FIELD_NAME",
    "MAX_COLUMNS",
    "MAX_ROWS",
    "OWNER_ID",
    "SCHEMA_NAME",
    "Binary",
    "Bool",
    "Category",
    "Column",
    "ColumnType",
    "Date",
    "Decimal",
    "Integer",
    "List",
    "Real",
    "String",
    "Struct",
    "Time",
    "Timestamp",
    "check_column_name",
    "check_columns",
    "misfits",
    "parse_type",
    "plain_columns",
    "plain_type",
    "read_columns",
    "schema_hash",
]
