# SPDX-License-Identifier: Apache-2.0
"""Names that owners share of ids that nobody reads: a keyed hash (OP-15). Spec: `enclave/spec/pseudonyms.md`.

Whoever has the key can try every id, so it is for the owners alone; without it a pseudonym says nothing of
the id. Of each different id of a batch one hash is made, so that memory does not grow with the rows.
"""

from __future__ import annotations

import hmac
from typing import Any, NamedTuple

from sealroom.encoding import lp
from sealroom.keys import Secret
from sealroom.schema import ColumnType, Integer, String
from sealroom_agents.owner.tables.csv_cells import CellError

MAX_ID_BYTES = 1024
"""Longest id, in UTF-8."""
_SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029"
    "\u202f\u205f\u3000"
)
"""What Unicode calls White_Space."""
_SEPARATORS = r"[\t .,:;/\\_\-\x{a0}\x{2010}\x{2011}\x{2012}\x{2013}]"
_POSITIVE = 2**63 - 1


def fingerprint(key: Secret) -> bytes:
    """Names a key and says nothing of it: 32 bytes."""
    return hmac.digest(key.reveal(), lp("sealroom/v1/pseudonym-key"), "sha256")


def study_key(key: Secret, *, study: str, of: str) -> Secret:
    """The key of one kind of ids in one study: pseudonyms of two studies, or of two kinds, have no link."""
    return Secret(hmac.digest(key.reveal(), lp("sealroom/v1/pseudonym", study, of), "sha256"))


def id_texts(values: Any, given: ColumnType) -> Any:
    """Ids as texts: a whole number as its digits, so that 17 and "17" are one id."""
    import pyarrow

    return values.cast(pyarrow.string()) if isinstance(given, Integer) else values


def spelt(texts: Any, steps: tuple[str, ...]) -> Any:
    """Ids in the one spelling that is hashed: Unicode's form NFC, then the declared steps in their order.

    An empty text is a missing id. Raises `CellError` for an id of which the steps leave nothing, and for one
    that is longer than `MAX_ID_BYTES`.
    """
    import pyarrow.compute as pc

    given = pc.if_else(pc.equal(texts, ""), None, texts)
    found = pc.utf8_normalize(given, form="NFC")
    for step in steps:
        found = _step(found, step)
    length = pc.binary_length(found)
    fits = pc.and_(pc.greater(length, 0), pc.less_equal(length, MAX_ID_BYTES))
    if pc.all(fits).as_py() is False:
        index = pc.index(fits, False).as_py()
        raise CellError(
            index,
            f"an id has 1 to {MAX_ID_BYTES:,} bytes when it is spelt as declared, and this one has "
            f"{length[index].as_py():,}",
        )
    return found


class Tags(NamedTuple):
    """The different ids of a batch, by their hashes."""

    pseudonyms: Any
    """As the column has them, an Arrow array of int64."""
    rest: Any
    """The next 64 bits of each hash, an Arrow array of uint64."""


class Pseudonyms:
    """Pseudonyms of one column, of type `int64` or `string`."""

    def __init__(self, key: Secret, kind: ColumnType) -> None:
        """key: of `study_key`."""
        self._key, self._text = key.reveal(), isinstance(kind, String)

    def of(self, ids: Any) -> tuple[Any, Tags | None]:
        """Pseudonyms of ids as `spelt` gives them, and what tells two ids of one number apart: nothing for
        texts, whose 128 bits need no check."""
        import pyarrow

        known = ids.dictionary_encode()
        tags = [hmac.digest(self._key, each.encode(), "sha256") for each in known.dictionary.to_pylist()]
        if self._text:
            made = pyarrow.array([tag[:16].hex() for tag in tags], pyarrow.string())
            return made.take(known.indices), None
        made = pyarrow.array([int.from_bytes(tag[:8]) & _POSITIVE for tag in tags], pyarrow.int64())
        rest = pyarrow.array([int.from_bytes(tag[8:16]) for tag in tags], pyarrow.uint64())
        return made.take(known.indices), Tags(made, rest)


def _step(texts: Any, step: str) -> Any:
    import pyarrow.compute as pc

    match step:
        case "trim":
            return pc.utf8_trim(texts, characters=_SPACES)
        case "upper":
            return pc.ascii_upper(texts)
        case "no-separators":
            return pc.replace_substring_regex(texts, pattern=_SEPARATORS, replacement="")
        case "digits-only":
            return pc.replace_substring_regex(texts, pattern="[^0-9]", replacement="")
        case "strip-zeros":
            return pc.replace_substring_regex(texts, pattern="(?s)^0+(.)", replacement=r"\1")
        case _:
            raise AssertionError(step)
