# SPDX-License-Identifier: Apache-2.0
"""Where enclaves may run: the backends that are installed, and the options that each of them has.

A backend is an entry point of the group `sealroom.backends`. It gives an object with `options`, the model of
`[runner.options]`, and `open`, which makes the backend (`sealroom_agents.runner.backend.Kind`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel, ValidationError

from sealroom.codes import Code
from sealroom_agents.errors import ConfigurationError

GROUP = "sealroom.backends"
"""The group of entry points."""
PAGES = {"dstack-vmm": "docs/deploy-dstack.md", "phala-cloud": "docs/deploy-phala.md"}
"""Where the options of our own backends stand in a table."""


def names() -> list[str]:
    """The backends that are installed, in order."""
    return sorted({each.name for each in entry_points(group=GROUP)})


@cache
def kind(name: str) -> Any:
    """The backend of this name. Raises `ConfigurationError`, which says which there are."""
    for each in entry_points(group=GROUP):
        if each.name == name:
            return each.load()
    raise ConfigurationError(
        Code.CONFIGURATION,
        f"[runner] backend: there is no backend {name[:80]!r}; there are {', '.join(names())}",
        "name one of them, or install the package that has it",
    )


def options_of(name: str, given: Mapping[str, Any]) -> BaseModel:
    """What `[runner.options]` says, as the backend `name` has it. Raises `ConfigurationError`."""
    model: type[BaseModel] = kind(name).options
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        told = "; ".join(
            _fault(fault, model) for fault in error.errors(include_url=False, include_input=False)
        )
        hint = f"{PAGES.get(name, 'agents/README.md')} says what each option is"
        raise ConfigurationError(Code.CONFIGURATION, f"the backend {name}: {told}", hint) from None


def _fault(fault: Any, model: type[BaseModel]) -> str:
    at = f"[runner.options] {'.'.join(str(part) for part in fault['loc'])}"
    if fault["type"] == "missing":
        return f"{at} is missing"
    if fault["type"] == "extra_forbidden":
        return f"{at} is no option of it, which has {', '.join(model.model_fields) or 'none'}"
    return f"{at}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"
