# SPDX-License-Identifier: Apache-2.0
"""Vectors of pseudonyms, computed from the page with Python's own hash and texts, and none of our code."""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Callable

from tests.vectors.vector import FOLDER, Vector

KEY = bytes(range(32))
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
SEPARATORS = "\t .,:;/\\_-\xa0\u2010\u2011\u2012\u2013"
STEPS: dict[str, Callable[[str], str]] = {
    "trim": lambda text: text.strip(SPACES),
    "upper": lambda text: "".join(each.upper() if "a" <= each <= "z" else each for each in text),
    "no-separators": lambda text: "".join(each for each in text if each not in SEPARATORS),
    "digits-only": lambda text: "".join(each for each in text if "0" <= each <= "9"),
    "strip-zeros": lambda text: text.lstrip("0") or text[:1],
}
CASES = {
    "plain": ("17", "", "an id as it is"),
    "zeros": (" 0017\u3000", "trim strip-zeros", "spaces of every kind, then zeros: the same as 17"),
    "zeros_first": (" 0017", "strip-zeros trim", "the other order: the zeros stay"),
    "only_zeros": ("000", "strip-zeros", "one zero stays"),
    "letters": ("ab-12/\u00e9.x", "no-separators upper", "letters of ASCII alone become capitals"),
    "composed": ("Mu\u0308ller", "", "Unicode's form NFC: the same as the next"),
    "composed_already": ("M\u00fcller", "", "the same as the one before"),
    "digits": ("DE-0815 / 2\u0663", "digits-only strip-zeros", "digits of ASCII alone"),
    "dashes": ("12\u201334\u2010567\u00a0 8", "no-separators", "dashes and spaces that cannot be typed"),
    "another_study": ("17", "", "the same id in another study has no link to the first"),
    "another_kind": ("17", "", "nor has the id of something else than a person"),
    "long": ("9" * 1024, "", "the longest id"),
}  # fmt: skip


def make_pseudonyms() -> None:
    """One id each."""
    for name, (given, steps, comment) in CASES.items():
        study = "other-study" if name == "another_study" else "cardio-renal"
        of = "ward" if name == "another_kind" else "person"
        spelt = unicodedata.normalize("NFC", given)
        for step in steps.split():
            spelt = STEPS[step](spelt)
        study_key = hmac.digest(KEY, _tuple("sealroom/v1/pseudonym", study, of), "sha256")
        tag = hmac.digest(study_key, spelt.encode(), "sha256")
        fields = {
            "expect": "success",
            "comment": comment,
            "key": KEY.hex(),
            "fingerprint": hmac.digest(KEY, _tuple("sealroom/v1/pseudonym-key"), "sha256").hex(),
            "study": study,
            "of": of,
            "spelling": steps or "none",
            "int64": str(int.from_bytes(tag[:8]) % 2**63),
            "string": tag[:16].hex(),
        }
        Vector(fields, given.encode()).write(FOLDER / "pseudonym" / name)


def _tuple(*texts: str) -> bytes:
    return b"".join(len(each.encode()).to_bytes(8) + each.encode() for each in texts)
