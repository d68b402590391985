# SPDX-License-Identifier: Apache-2.0
"""What all bodies share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom_agents.console import spellings

MAX_OWNERS = 16
OWNER = r"^[^\x00-\x1f\x7f]*$"
"""An owner's id in a query, known or not; a database takes no NUL."""
Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$", examples=["0x" + "5e" * 32])]


def _normal(value: Any) -> Any:
    """An address as it is compared; what is none is for the pattern to refuse."""
    try:
        return spellings.address(value) if isinstance(value, str) else value
    except FormatError as error:
        raise ValueError(error.message) from error


Address = Annotated[
    str,
    BeforeValidator(_normal),
    Field(
        pattern=r"^0x[0-9a-fA-F]{40}$",
        description="In requests lower case, or with the checksum of EIP-55; in answers lower case.",
        examples=["0x" + "c0" * 20],
    ),
]
OwnerId = Annotated[str, Field(min_length=1, max_length=64, examples=["hospital-A"])]


class Strict(BaseModel):
    """A body in camelCase, with the declared fields only."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class Missing(Strict):
    """One thing that a run lacks."""

    code: str = Field(examples=[str(Code.APPROVAL_MISSING)])
    message: str = Field(examples=["hospital-B has not approved (1 of 3)"])
    owner: str | None = None


class Problem(Strict):
    """A refused request: problem details (RFC 9457)."""

    type: str = Field(
        description="Where the code is explained, relative to the console.",
        examples=[f"/docs#{Code.MALFORMED}"],
    )
    title: str = Field(description="What the code means.", examples=[Code.MALFORMED.sentence])
    status: int = Field(description="The HTTP status.", examples=[400])
    detail: str = Field(
        description="What is wrong with this request, in one line for people.",
        examples=["owners: List should have at least 1 item after validation, not 0"],
    )
    code: str = Field(description="Stable word for programs.", examples=[str(Code.MALFORMED)])
    hint: str | None = Field(None, description="What to do about it.")
    field: str | None = Field(
        None,
        description="Which parameter, or which member of the body, is wrong; missing where it is none alone.",
        examples=["owners"],
    )
