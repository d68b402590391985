# SPDX-License-Identifier: Apache-2.0
"""From its matter to the file: code of the release, what is drawn, the matter itself, and who signed it all.

The file ends with a comment that holds account and signature. What is signed is a wallet's personal message
(EIP-191) about everything before that comment, so that any wallet can sign it and shows what it signs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.console.assets import BUILT
from sealroom_agents.console.disk.matter import Matter
from sealroom_agents.console.portrayal import Portrayal, ordered
from sealroom_agents.console.study_page import study_values
from sealroom_agents.console.templating import environment
from sealroom_agents.errors import ToolError
from sealroom_agents.facts import ChainView
from sealroom_agents.twelve_words import twelve_words

CODE = "decide.html"
MAX_BYTES = 32 * 1024 * 1024
"""Most bytes of a page."""
_TRAILER = re.compile(rb"<!-- sealroom: signed by (0x[0-9a-f]{40}) (0x[0-9a-f]{130}) -->\n")


@dataclass(frozen=True)
class Shell:
    """The page without what it is made of: policy, style and scripts of one release."""

    before: str
    """What stands before what is drawn."""
    between: str
    """What stands between that and the matter."""
    after: str
    """What stands after the matter."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of it, 32 bytes."""
        return sha256("\0".join((self.before, self.between, self.after)).encode())


@cache
def shell(folder: Path = BUILT) -> Shell:
    """That of this release. Raises `source-unreadable` where an installation has none."""
    try:
        text = (folder / CODE).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ToolError(
            Code.SOURCE_UNREADABLE,
            "this installation has no page to decide on",
            "run .ci/setup in the checkout, then install again",
        ) from None
    before, rest = text.split("{{drawn}}")
    between, after = rest.split("{{facts}}")
    return Shell(before, between, after)


def page(matter: Matter) -> bytes:
    """The page, not signed yet. Raises `ToolError` where its matter has no such study or not its recipe."""
    around, facts = shell(), matter.encode()
    return b"".join(
        (
            around.before.encode(),
            _drawn(matter).encode(),
            around.between.encode(),
            facts,
            around.after.encode(),
        )
    )


def _drawn(matter: Matter) -> str:
    content, view = matter.content, matter.facts.view
    recipe = matter.recipes.get(content.compose_hash)
    if recipe is None:
        raise ToolError(
            Code.PROPOSAL_DIFFERS,
            f"the study is of another recipe, compose hash {to_hex(content.compose_hash)}",
            "--recipe takes the app-compose.json that its proposer wrote",
        )
    if (recipe.output_hash, recipe.privacy_hash) != (content.output_hash, content.privacy_hash):
        raise ToolError(
            Code.PROPOSAL_DIFFERS,
            "the study names another output or privacy policy than the bytes of its recipe",
            "do not approve it",
        )
    picture = Portrayal(matter.facts, matter.history, matter.recipes.get, matter.made).picture(
        status=_status(view), records=0, grades=(), final=view.block_number
    )
    chosen = next((one for one in picture.pending if one.study.id == matter.study), None)
    datasets = matter.facts.datasets_of(matter.study)
    if chosen is None or datasets is None:
        raise ToolError(
            Code.PROPOSAL_UNKNOWN,
            "the study is none of those that a page shows: expired, or behind many of the same owner",
        )
    picture = picture.of(chosen, ordered(datasets))
    made = environment(asset=None, disk=True, teller="file", frame="disk.html")
    return made.get_template("study.html").render(
        page="study",
        maker=matter.maker,
        made=matter.made,
        chain_id=view.chain_id,
        at_block=view.block_number,
        simulated=view.chain_id in LOCAL_CHAIN_IDS,
        activities=(),
        more=0,
        **study_values(picture, matter.recipes.get),
    )


def _status(view: ChainView) -> str:
    if view.revoked_by:
        return "revoked"
    if view.live:
        return "live"
    return "forming" if len(view.confirmed) >= view.threshold else "declared"


def message(unsigned: bytes, matter: Matter) -> bytes:
    """What the maker signs as a personal message: text for a person, about all bytes of the page."""
    view = matter.facts.view
    lines = (
        "Sealroom: the page of a study, to decide on",
        f"chain {view.chain_id}, consortium {view.consortium}",
        f"study {to_hex(matter.study)}",
        " ".join(twelve_words(matter.study)),
        f"SHA-256 of the page {to_hex(sha256(unsigned))}",
    )
    return "\n".join(lines).encode()


def signed(unsigned: bytes, matter: Matter, signature: bytes) -> bytes:
    """The page with its signature. Raises `signer-not-owner` for one that is not its maker's."""
    signer = typed.recover(typed.personal(message(unsigned, matter)), signature)
    if signer != matter.maker:
        raise ToolError(
            Code.SIGNER_NOT_OWNER,
            f"{signer} signed, and the page says that {matter.maker} made it",
            "sign exactly this message with exactly this account",
        )
    return unsigned + f"<!-- sealroom: signed by {signer} {to_hex(signature)} -->\n".encode()


def parted(data: bytes) -> tuple[bytes, str, bytes]:
    """The page without its signature; who is said to have signed; the signature. Raises `page-malformed`
    where it has none."""
    start = data.rfind(b"<!-- sealroom: signed by ")
    found = _TRAILER.fullmatch(data[start:]) if start >= 0 else None
    if found is None:
        raise ToolError(
            Code.PAGE_MALFORMED,
            "the file does not end with a signature",
            "it is no page that sealroom decide --page made, or not whole, or not signed yet",
        )
    return data[:start], found[1].decode(), bytes.fromhex(found[2].decode()[2:])
