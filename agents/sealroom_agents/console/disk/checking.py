# SPDX-License-Identifier: Apache-2.0
"""A page that came by mail: who signed it, and whether it is what this release makes of its matter.

So neither script nor sentence of it is its maker's own: what a maker can say falsely is what the chain says,
and the page asks a wallet's node for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jinja2 import TemplateError

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import normal_address
from sealroom.errors import KeyMaterialError
from sealroom.model import Owner
from sealroom_agents.chain import History
from sealroom_agents.chain.event import Event
from sealroom_agents.chain.owner_events import Decision
from sealroom_agents.console.disk.matter import Matter
from sealroom_agents.console.disk.page import Shell, message, page, parted, shell
from sealroom_agents.console.disk.reading import look
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.node import Node
from sealroom_agents.index.facts import Facts
from sealroom_agents.index.plain import to_plain

HINT = "do not open it; ask its maker for another, or make one yourself: sealroom decide --page"


@dataclass(frozen=True)
class Checked:
    """A page whose signature holds, and whose every byte follows from its matter and this release."""

    matter: Matter
    unsigned: bytes
    code: Shell


def check(data: bytes) -> Checked:
    """Check a whole file. Raises `ToolError`: `page-malformed`, `signature-of-another` where a byte was
    changed or somebody else signed, `page-of-another-release`, `page-differs`, and what a recipe or study has
    against it."""
    unsigned, signer, signature = parted(data)
    code = shell()
    matter = Matter.parse(_facts(unsigned, code))
    try:
        found = typed.recover(typed.personal(message(unsigned, matter)), signature)
    except KeyMaterialError as error:
        raise ToolError(Code.SIGNATURE_OF_ANOTHER, error.message, HINT) from None
    if found != signer or signer != matter.maker:
        raise ToolError(
            Code.SIGNATURE_OF_ANOTHER, f"these are not the bytes that {matter.maker} signed as its page", HINT
        )
    if not (unsigned.startswith(code.before.encode()) and unsigned.endswith(code.after.encode())):
        raise ToolError(
            Code.PAGE_OF_ANOTHER_RELEASE,
            f"{signer} signed it, and its code is not that of this release: another release made it, or its "
            "maker changed it, which only that release can tell apart",
            "do not open it; check it with the release that its maker used, or make one yourself: "
            "sealroom decide --page",
        )
    if _again(matter) != unsigned:
        raise ToolError(Code.PAGE_DIFFERS, "it shows something else than its facts say", HINT)
    return Checked(matter, unsigned, code)


def _again(matter: Matter) -> bytes:
    """What this release makes of it. Its facts are somebody's word, and may be such as no chain has."""
    try:
        return page(matter)
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, TemplateError) as error:
        raise ToolError(Code.PAGE_MALFORMED, f"its facts contradict each other: {error}", HINT) from error


def _facts(unsigned: bytes, code: Shell) -> bytes:
    """The matter in a page: it has no `<`, and what follows it begins with one."""
    mark = code.between.encode()
    start = unsigned.rfind(mark)
    if start < 0:
        raise ToolError(Code.PAGE_MALFORMED, "it holds no facts where this release has them", HINT)
    return unsigned[start + len(mark) :].partition(b"<")[0]


def unsigned_matter(unsigned: bytes) -> Matter:
    """The matter of a page that nobody signed yet. Raises `ToolError`: `page-malformed`, `page-differs`."""
    matter = Matter.parse(_facts(unsigned, shell()))
    if _again(matter) != unsigned:
        raise ToolError(Code.PAGE_DIFFERS, "it is not what this release made, or it is signed already", HINT)
    return matter


def require_expected(found: Checked, *, chain_id: int | None, consortium: str) -> None:
    """Raises `proposal-differs` for a page of another consortium. chain_id: `None` for any chain."""
    view = found.matter.facts.view
    if chain_id not in (None, view.chain_id) or view.consortium != normal_address(consortium):
        chain = "" if chain_id is None else f" on {chain_id}"
        raise ToolError(
            Code.PROPOSAL_DIFFERS,
            f"the page is of consortium {view.consortium} on chain {view.chain_id}, "
            f"not of {consortium}{chain}",
            HINT,
        )


def require_maker(found: Checked, *, by: str | None, urls: Sequence[str], private_chain: int | None) -> str:
    """The maker's name, where a node says it; empty where none was asked, or the maker is no owner.

    by: the account that must have made it. urls: nodes that must agree; without `by`, the maker must be an
    owner by them. Raises `ToolError` `signer-not-owner`, `other-chain`; `ChainError`.
    """
    maker, view = found.matter.maker, found.matter.facts.view
    if by is not None and normal_address(by) != maker:
        raise ToolError(Code.SIGNER_NOT_OWNER, f"{maker} made the page, not {by}", HINT)
    if not urls:
        return ""
    node = Node(urls, private_chain=private_chain)
    if node.chain_id != view.chain_id:
        raise ToolError(
            Code.OTHER_CHAIN, f"the node is on chain {node.chain_id}, the page on {view.chain_id}"
        )
    owners = [Owner.of_abi(raw) for raw in node.call("Consortium", view.consortium, "owners")]
    name = next((one.id for one in owners if one.account == maker), "")
    if not name and by is None:
        raise ToolError(
            Code.SIGNER_NOT_OWNER,
            f"{maker} made the page, and is no owner of {view.consortium}",
            "if you know that account, say so with --by",
        )
    return name


@dataclass(frozen=True)
class Answered:
    """What nodes say now of what a page tells, in words."""

    against: tuple[str, ...]
    """What they say otherwise."""
    untold: tuple[str, ...] = ()
    """What they do not tell: nobody vouches for it."""


def asked(found: Checked, urls: Sequence[str], *, private_chain: int | None) -> Answered:
    """What nodes say of it now.

    A page grows old: votes and runs after its block are named here as well, since of an older state no full
    node tells. What owners did up to its block never changes, so that names a lie, or a reorganisation.
    Raises `ChainError`.
    """
    matter = found.matter
    view = matter.facts.view
    now, history = look(urls, view.consortium, private_chain=private_chain)
    if view.block_number > now.view.block_number:
        return Answered(
            (f"it tells of block {view.block_number}, and the node is at {now.view.block_number}",)
        )
    against = against_history(matter.history, history, view.block_number)
    if not against:
        differing = _differing(to_plain(_timeless(matter.facts)), to_plain(_timeless(now)))
        against = tuple(f"{name} was otherwise at block {now.view.block_number}" for name in differing)
    untold = (
        (f"what owners did up to block {history.unread} was not compared: the history is too long",)
        if history.unread
        else ()
    )
    return Answered(against, untold)


def against_history(page: History, node: History, block: int) -> tuple[str, ...]:
    """What a node's history says otherwise than that of a page of `block`, in words. What the node does not
    read is not compared."""
    # A history only grows, and so does what a walk through it leaves out: who read later left out no less.
    if page.unread > node.unread:
        return (f"it says that it read nothing up to block {page.unread}, and the node tells more",)
    told, compared = (
        [_unnamed(one, node) for one in events if node.unread < one.at.block]
        for events in ([one for one in node.events if one.at.block <= block], page.events)
    )
    return () if told == compared else (f"what owners did up to block {block} is not what it tells",)


def _unnamed(event: Event, node: History) -> Event:
    """Without the names of who decided, where the node does not read from the beginning: which seats they
    held then, an earlier event says."""
    return replace(event, owners=()) if node.unread and isinstance(event, Decision) else event


def _timeless(facts: Facts) -> Facts:
    """Facts as of no block."""
    view = replace(facts.view, block_number=0, block_hash=bytes(32), block_time=0)
    return replace(facts, view=view)


def _differing(page: dict[str, object], node: dict[str, object]) -> list[str]:
    """Names of what differs; of the view, of its parts."""
    mine, theirs = page.pop("view"), node.pop("view")
    assert isinstance(mine, dict) and isinstance(theirs, dict)
    return [name for one, other in ((mine, theirs), (page, node)) for name in one if one[name] != other[name]]
