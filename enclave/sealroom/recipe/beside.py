# SPDX-License-Identifier: Apache-2.0
"""Files that lie beside `study.yaml`: its script, and long lists of numbers, which stand in the recipe as if
they had been written in the study. Errors: `RecipeError` with `recipe-unreadable`, `recipe-malformed`,
`recipe-too-large`, `recipe-field`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.privacy.clipped import MAX_LENGTH
from sealroom.privacy.members import Members
from sealroom.visible import visible

MAX_LIST_BYTES = 1024 * 1024
LISTS = ("centre",)
"""Members of a field whose numbers may stand in a file."""


def read_text(path: Path, limit: int) -> str:
    """A file of at most so many bytes, as UTF-8."""
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise RecipeError(Code.RECIPE_UNREADABLE, f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecipeError(Code.RECIPE_MALFORMED, f"{path.name} is not UTF-8") from None
    if len(data) > limit:
        raise RecipeError(Code.RECIPE_TOO_LARGE, f"{path.name} has more than {limit} bytes")
    return text


def beside(folder: Path, name: str, *, code: Code) -> Path:
    """A file of the study's folder, by its bare name; `code` refuses any other."""
    if Path(name).name != name or name in (".", "..") or not visible(name):
        raise RecipeError(
            code,
            f"{name[:80]!r} lies in another folder than the study",
            "copy it into the study's folder, and write its name alone",
        )
    return folder / name


def with_lists(field: Any, folder: Path) -> Any:
    """A field of a study with the numbers of its files, as `centre: {file: centres.txt}`, in their place:
    they are apart by blanks or line ends. Other fields, and what is no field, as they are."""
    if not isinstance(field, dict):
        return field
    filled = {}
    for name in LISTS:
        if isinstance(field.get(name), dict):
            members = Members(field[name], f"the member {name}", code=Code.RECIPE_FIELD)
            members.only("file")
            path = beside(folder, members.text("file", limit=255), code=Code.RECIPE_FIELD)
            # what is too long for any list stays one text, and is refused as a list that is too long
            filled[name] = read_text(path, MAX_LIST_BYTES).split(maxsplit=MAX_LENGTH)
    return {**field, **filled}
