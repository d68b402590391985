# SPDX-License-Identifier: Apache-2.0
"""The kinds of released values, one module each; `KINDS` holds them by name.

Each module here has a `KIND`. To add a kind, add its module and a case in `tests/enclave/kinds`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from sealroom.privacy.kind import Kind

KINDS: dict[str, Kind[Any]] = {
    kind.name: kind
    for kind in (
        importlib.import_module(f"{__name__}.{module}").KIND
        for module in sorted(found.name for found in pkgutil.iter_modules(__path__))
    )
}
"""Every kind by its name in recipes."""
