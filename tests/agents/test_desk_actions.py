# SPDX-License-Identifier: Apache-2.0
"""Each action's entry is that of its function: names, and what they may be."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import click
import pytest

from sealroom_agents.governance import signing
from sealroom_agents.governance.actions.documents import document_options
from sealroom_agents.governance.actions.entry import Action
from sealroom_agents.governance.actions.listing import SECTIONS
from sealroom_agents.governance.documents import Documents
from sealroom_agents.governance.face import sign_params, way_options

ACTIONS = [action for section in SECTIONS for action in section.actions]


def function_of(action: Action) -> Callable[..., Any]:
    module, _, name = action.function.partition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(f"sealroom_agents.governance.{module}"), name)
    return found


def fits(param: click.Parameter, hint: Any) -> bool:
    """Whether what click hands over is what the hint says."""
    several = param.nargs == -1 or getattr(param, "multiple", False)
    if several or getattr(param, "is_flag", False):
        return (get_origin(hint) or hint) is (tuple if several else bool)
    context = click.Context(click.Command("any"))
    missing = not param.required and not isinstance(param.get_default(context), str | int)
    return missing == (NoneType in get_args(hint))


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_an_action_s_options_are_its_function_s_parameters(action: Action) -> None:
    function = function_of(action)
    hints = get_type_hints(function)
    own = {one.name: one for one in inspect.signature(function).parameters.values()}
    assert own.pop("desk").annotation == "Desk"
    assert (own.pop("documents", None) is not None) == action.compares
    params = {str(param.name): param for param in action.params()}
    assert len(params) == len(action.params())
    for name in {str(param.name) for param in way_options("vote")}:
        params.pop(name, None)  # whose act it is, and how it leaves, is no matter of the function
    assert set(params) == set(own)
    assert all(one.kind is one.KEYWORD_ONLY and one.default is one.empty for one in own.values())
    assert [name for name, param in params.items() if not fits(param, hints[name])] == []


@pytest.mark.parametrize("chain", [True, False])
def test_the_options_for_documents_are_those_of_the_record(chain: bool) -> None:
    hints = get_type_hints(Documents)
    params = {str(param.name): param for param in document_options(chain=chain)}
    lacking = {"registrations"} if chain else {"chosen", "before"}
    assert set(params) == set(hints) - lacking
    assert [name for name, param in params.items() if not fits(param, hints[name])] == []


def test_sign_takes_its_own_options_and_those_for_documents() -> None:
    own = set(inspect.signature(signing.sign).parameters)
    options = {str(param.name) for param in sign_params()}
    from_face = {"documents", "wallet", "confirm", "show"}
    assert options == (own - from_face) | {str(one.name) for one in document_options(chain=False)} | {
        "as_json"
    }


def test_no_action_has_the_name_of_another() -> None:
    names = [action.name for action in ACTIONS]
    assert len(names) == len(set(names)) and "sign" not in names
