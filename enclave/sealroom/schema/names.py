# SPDX-License-Identifier: Apache-2.0
"""What may be a name: of an owner, a dataset, a schema, a field, a column."""

from __future__ import annotations

import re
import unicodedata

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.visible import visible

OWNER_ID = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,30}")
"""An owner's short name. It fits the contract's `bytes32`, with room to spare."""
OWNER_ID_WORDS = "a letter, then letters, digits and hyphens: at most 31"
DATASET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""A dataset's name among its owner's. It is also a file name."""
DATASET_NAME_WORDS = "a letter, then letters, digits, hyphens and underscores: at most 64"
FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
"""A field of a result."""
SCHEMA_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""A schema of a recipe. It is also a table's name in SQL."""
SCHEMA_NAME_WORDS = "a small letter, then small letters, digits and underscores: at most 63"
STUDY_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""A study's name. It is also a folder's."""
STUDY_NAME_WORDS = "small letters, digits and hyphens, no hyphen first: at most 63"
MAX_COLUMN_NAME = 255
"""Most bytes of a column's name in UTF-8."""


def check_column_name(name: object) -> str:
    """The name of a column or of a struct's field, in any script.

    One name has one form: Unicode's NFC. Two names that look the same are so the same bytes, in a recipe, a
    header and a file. What cannot be seen is no part of a name: controls, marks of direction, fillers,
    characters that Unicode does not define, spaces at an end. Raises `FormatError` (`malformed`).
    """
    if not isinstance(name, str) or not name:
        raise FormatError(Code.MALFORMED, "a column without a name", "give every column a name")
    if name.isascii():
        if len(name) <= MAX_COLUMN_NAME and name.isprintable() and name[0] != " " != name[-1]:
            return name
    elif not visible(name):
        pass
    elif not unicodedata.is_normalized("NFC", name):
        raise FormatError(
            Code.MALFORMED,
            f"the column {shown(name)} has a name that is not in Unicode's form NFC",
            "rename it: in Python, unicodedata.normalize('NFC', name)",
        )
    if not visible(name) or name != name.strip(" "):
        raise FormatError(
            Code.MALFORMED,
            f"the column {shown(name)} has a name with a character that cannot be seen, or a space at an end",
            "rename it",
        )
    if len(name.encode()) > MAX_COLUMN_NAME:
        raise FormatError(
            Code.MALFORMED,
            f"the column {shown(name)} has a name of more than {MAX_COLUMN_NAME} bytes",
            "give it a shorter name",
        )
    return name


def shown(name: object) -> str:
    """A name in a message: printable and short, whatever it is."""
    text = ascii(name) if not (isinstance(name, str) and visible(name)) else name
    return text if len(text) <= 64 else text[:64] + "…"
