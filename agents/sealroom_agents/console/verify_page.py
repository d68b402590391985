# SPDX-License-Identifier: Apache-2.0
"""The verify page: one file in two forms, each with a policy inside that names the hashes of its parts.

`verify.html` asks nobody, and works from disk; `verify-node.html` may ask a node that its reader names.
"""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from sealroom_agents.console.assets import BUILT

OFFLINE = "verify.html"
ASKING = "verify-node.html"
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')


def _read(name: str, folder: Path) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RuntimeError("the verify page is not built: run .ci/setup in the checkout") from None


def policy_of(page: str) -> str:
    """The policy that stands in a page, as a header: nothing may frame it besides."""
    found = _POLICY.search(page)
    if found is None:
        raise RuntimeError("the verify page has no policy: run .ci/setup in the checkout")
    return f"{found[1]}; frame-ancestors 'none'"


class VerifyPage:
    """Serves both forms."""

    def __init__(self, folder: Path = BUILT) -> None:
        self._pages = {"/verify": _read(ASKING, folder), "/verify.html": _read(OFFLINE, folder)}

    @property
    def policies(self) -> dict[str, str]:
        """The policy of each path, instead of the one of the other pages."""
        return {path: policy_of(page) for path, page in self._pages.items()}

    def router(self) -> APIRouter:
        """Its routes; none is part of the REST interface."""
        web = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

        @web.get("/verify")
        def asking() -> HTMLResponse:
            return HTMLResponse(self._pages["/verify"])

        @web.get("/verify.html")
        def offline() -> HTMLResponse:
            return HTMLResponse(self._pages["/verify.html"])

        return web
