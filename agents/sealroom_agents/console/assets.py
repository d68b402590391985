# SPDX-License-Identifier: Apache-2.0
"""Scripts and styles of the pages, as `.ci/face` bundled them.

The name of a bundle holds the hash of its content, so browsers keep it for good; the rest they ask for again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).with_name("static")
BUILT = STATIC / "built"
KEPT = "public, max-age=31536000, immutable"
ASKED_AGAIN = "no-cache"


class Assets:
    """Addresses of the bundles by the name of their entry, such as `study.js`."""

    def __init__(self, folder: Path = BUILT) -> None:
        try:
            self._names: Mapping[str, str] = json.loads((folder / "manifest.json").read_text())
        except FileNotFoundError:
            raise RuntimeError("the pages have no bundles: run .ci/setup in the checkout") from None

    def address(self, entry: str) -> str:
        """Where browsers get it. Raises KeyError for a name that is no entry's."""
        return f"/static/built/{self._names[entry]}"


@cache
def shipped() -> Assets:
    """Those of this package."""
    return Assets()


class StaticAnswers(StaticFiles):
    """Static files with what browsers may keep."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """The file, or that it has not changed."""
        answer = super().file_response(full_path, stat_result, scope, status_code)
        path = Path(full_path)
        named = path.parent.name == "built" and path.suffix in (".js", ".css")
        answer.headers["Cache-Control"] = KEPT if named else ASKED_AGAIN
        return answer
