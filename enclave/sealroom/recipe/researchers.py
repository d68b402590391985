# SPDX-License-Identifier: Apache-2.0
"""Who may ask for runs of a recipe, besides its owners: accounts, or anyone.

A run spends ε that never comes back. So owners approve who may spend it, in the same bytes as what
is computed.
"""

from __future__ import annotations

from typing import Any

from sealroom.codes import Code
from sealroom.encoding import Fields, address_bytes, normal_address
from sealroom.errors import FormatError, RecipeError

ANYONE = "anyone"
"""Stands alone where nobody must say who asks."""
MAX_RESEARCHERS = 16


def read_researchers(fields: Fields, *, loose: bool = False) -> tuple[str, ...]:
    """The member `researchers`, which may be left out: then only owners ask. Accounts in lower-case hex,
    strictly increasing. `loose`: as a person writes them, in any order and case.

    Raises `RecipeError` `recipe-researchers`.
    """
    if not fields.has("researchers"):
        return ()
    given = fields.array("researchers", limit=MAX_RESEARCHERS)
    if given == [ANYONE]:
        return (ANYONE,)
    found = [_account(one, loose=loose) for one in given]
    if not found or len(set(found)) != len(found):
        raise _refused("names nobody, or somebody twice")
    if not loose and found != sorted(found):
        raise _refused("has accounts that are not in order")
    return tuple(sorted(found))


def researchers_words(researchers: tuple[str, ...]) -> str:
    """Who may ask for runs, in one sentence."""
    if researchers == (ANYONE,):
        return "Anyone may ask for runs, without saying who."
    if not researchers:
        return "The owners alone may ask for runs."
    return f"The owners may ask for runs, and whoever holds the key of {', '.join(researchers)}."


def _account(value: Any, *, loose: bool) -> str:
    try:
        if loose:
            return normal_address(value)
        address_bytes(value)
        return str(value)
    except FormatError:
        raise _refused(f"has {value!r:.60}, which is no account, nor stands {ANYONE} alone") from None


def _refused(why: str) -> RecipeError:
    return RecipeError(
        Code.RECIPE_RESEARCHERS,
        f"researchers {why}",
        f'write accounts as "0x…" in quotes, each once, at most {MAX_RESEARCHERS}; or [{ANYONE}]',
    )
