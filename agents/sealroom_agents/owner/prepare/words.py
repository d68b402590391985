# SPDX-License-Identifier: Apache-2.0
"""Reading one table of a declared file: every word is taken once, and one that nobody took is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.encoding import Fields
from sealroom.spelling import nearest
from sealroom_agents.errors import ToolError

MAX_TEXT = 1024
"""Characters of a text in a declared file."""
MAX_WORDS = 4096
"""Texts in one list of a declared file."""


class Words(Fields):
    """One table of a declared file; `what` names it in messages. Raises `prepare-malformed`."""

    def __init__(self, value: Any, what: str) -> None:
        self._known: dict[str, None] = {}
        self.what = what
        """What messages call the table."""
        super().__init__(value, what, error=ToolError, code=Code.PREPARE_MALFORMED)

    def has(self, name: str) -> bool:
        """Whether an optional word is there and was not read yet."""
        self._known[name] = None
        return super().has(name)

    def raw(self, name: str) -> Any:
        """Take any value; the caller judges it."""
        self._known[name] = None
        return super().raw(name)

    def line(self, name: str, default: str | None = None) -> str | None:
        """Take a text that may be left out; an empty one, as `prepare --init` leaves it, is refused."""
        if self._left.get(name) == "":
            self.fail(f"has an empty {name}", f"fill in {name}, or take the table out")
        return self.text(name, limit=MAX_TEXT) if self.has(name) else default

    def flag(self, name: str) -> bool:
        """Take true or false; false where it is left out."""
        value = self.raw(name) if self.has(name) else False
        if not isinstance(value, bool):
            self.fail(f"has {name} that is neither true nor false")
        return value

    def one_of(self, name: str, known: Sequence[str], default: str | None = None) -> str | None:
        """Take one of the known words, which may be left out."""
        found = self.line(name, default)
        if found is not None and found not in known:
            self._unknown_word(name, found, known)
        return found

    def lines(self, name: str) -> tuple[str, ...]:
        """Take a list of texts, none of them twice; none where it is left out."""
        given = self.array(name, limit=MAX_WORDS) if self.has(name) else ()
        if any(not isinstance(each, str) or len(each) > MAX_TEXT for each in given):
            self.fail(f"has {name} that is not a list of texts of at most {MAX_TEXT} characters")
        if len(set(given)) < len(given):
            self.fail(f"has {name} in which a text stands twice")
        return tuple(given)

    def some_of(self, name: str, known: Sequence[str]) -> tuple[str, ...]:
        """Take a list of known words, none of them twice; none where it is left out."""
        found = self.lines(name)
        for each in found:
            if each not in known:
                self._unknown_word(name, each, known)
        return found

    def done(self) -> None:
        """Refuse words that were not taken."""
        for name in self._left:
            near = nearest(name, self._known)
            hint = f"did you mean {near}?" if near else f"it may have {', '.join(self._known)}"
            self.fail(f"has {name[:80]!r}, which says nothing there", hint)

    def _unknown_word(self, name: str, found: str, known: Sequence[str]) -> NoReturn:
        near = nearest(found, known)
        hint = f"did you mean {near}?" if near else f"it is one of {', '.join(known)}"
        self.fail(f"has {name} {found[:80]!r}, which is none that there is", hint)
