# SPDX-License-Identifier: Apache-2.0
"""What the person who votes has in hand, compared with the proposal: no vote for hashes that nobody read.

A study is compared with its recipe, and its guarantee with the platform policy where that is given; a
platform with the gate's evidence under the policy, or with a file of one's own; machines with the list that
one has; owners who join with their files. `--blind` does without, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import (
    Machines,
    MachinesProposal,
    Owner,
    Platform,
    PlatformProposal,
    RosterProposal,
    Study,
)
from sealroom.model.base import Record
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.files import (
    load_content,
    load_machines,
    load_owners,
    load_platform,
    read_json,
)
from sealroom_agents.governance.proposals import Content, kind_of
from sealroom_agents.governance.standing import Standing
from sealroom_agents.governance.words import Lines

if TYPE_CHECKING:
    from sealroom.platform_policy import PlatformPolicy
    from sealroom.recipe import Recipe

BLIND = {
    Study: "nobody here has read the recipe: what leaves is not known",
    PlatformProposal: "nobody here has verified the gate, its policy or its machines: these are bare hashes",
    MachinesProposal: "nobody here has compared the machines and OS images: these are bare hashes",
    RosterProposal: "nobody here has compared the accounts of the owners who join",
}
"""The warning for a vote without documents."""
NEEDED = {
    PlatformProposal: (
        "a platform is approved once its gate is verified: its hashes alone say nothing",
        "pass --gate URL --policy FILE and --device for each machine, or --against FILE with a platform of "
        "your own; --blind approves hashes that nobody here has compared",
    ),
    MachinesProposal: (
        "machines are approved by who knows them: their hashes alone say nothing",
        "pass --device and --os-image for each, or --against FILE; --blind approves hashes that nobody here "
        "has compared",
    ),
    RosterProposal: (
        "owners who join are approved by who knows their accounts",
        "pass --against FILE for each owner who joins; --blind approves accounts that nobody here has "
        "compared",
    ),
}
"""What is lacking, and the way out."""
BESIDE = ("expiry", "follows")
"""What says how long and under what votes count, and nothing of what is decided."""


@dataclass(frozen=True)
class Documents:
    """The options of an action that compares a proposal with what somebody has in hand."""

    recipe: Path | None = None
    registrations: tuple[Path, ...] = ()
    before: Path | None = None
    chosen: tuple[bytes, ...] = ()
    """Ids of datasets, where their names do not tell which is meant."""
    surplus: bool = False
    """Whether a study may spend more than its runs need."""
    gate: str | None = None
    policy: Path | None = None
    simulated_root: Path | None = None
    os_image: tuple[bytes, ...] = ()
    device: tuple[bytes, ...] = ()
    against: tuple[Path, ...] = ()
    blind: bool = False


@dataclass(frozen=True)
class Examined:
    """What a comparison has shown."""

    lines: Lines
    warnings: tuple[str, ...] = ()
    recipe: Recipe | None = None
    """The recipe of a study, where it was at hand."""


def examine(
    content: Content, given: Documents, *, chain_id: int, standing: Standing | None, needed: bool
) -> Examined:
    """Compare a proposal with the documents that are there.

    standing: `None` on a machine that sees no chain. needed: whether a vote is given here; who hands in
    signatures gives none. Raises `proposal-differs`; `recipe-needed` and `document-needed` where none is
    there that fits, and nobody said `--blind`; `guarantee-not-accepted`.
    """
    _require_fitting(content, given)
    if isinstance(content, Study):
        return _study(content, given, standing, needed=needed)
    if isinstance(content, PlatformProposal) and given.gate is not None:
        return _gate(content, given, chain_id)
    if isinstance(content, PlatformProposal) and given.policy is not None and not given.against:
        raise ToolError(
            Code.WAY_UNCLEAR, "--policy says nothing of the gate", "pass --gate URL, or --against FILE"
        )
    found: Lines = []
    for path in given.against if not isinstance(content, RosterProposal) else ():
        _require_same(content, _own(content, path), f"compared with {path}")
        found.append(("compared with", f"{path}: the same"))
    if isinstance(content, PlatformProposal) and given.policy is not None:
        found += _policy(content, given.policy)
    if isinstance(content, MachinesProposal) and (given.os_image or given.device):
        mine = Machines(
            os_images=tuple(sorted(set(given.os_image))), devices=tuple(sorted(set(given.device)))
        )
        _require_same(content, mine, "compared with what you named")
        found.append(("compared with", "the machines and OS images that you named: the same"))
    if isinstance(content, RosterProposal):
        found += _roster(content, given)
        needed = needed and bool(content.add)
    if found or not needed:
        return Examined(found)
    if not given.blind:
        raise ToolError(Code.DOCUMENT_NEEDED, *NEEDED[type(content)])
    return Examined([], (BLIND[type(content)],))


def _require_fitting(content: Content, given: Documents) -> None:
    """Documents of another kind than the proposal are a mistake that must not pass for a comparison."""
    fits: dict[type[Content], tuple[str, ...]] = {
        Study: ("recipe", "registrations", "before", "chosen", "surplus", "policy"),
        PlatformProposal: ("gate", "policy", "simulated_root", "os_image", "device", "against"),
        MachinesProposal: ("os_image", "device", "against"),
        RosterProposal: ("against",),
    }
    options = {"chosen": "dataset", "surplus": "allow-surplus"}
    for name, value in vars(given).items():
        if value and name != "blind" and name not in fits[type(content)]:
            option = options.get(name, name).replace("_", "-")
            raise ToolError(
                Code.WAY_UNCLEAR, f"--{option} says nothing of a {kind_of(content)}", "leave it out"
            )
    if isinstance(content, PlatformProposal) and given.gate is None:
        for name in ("os_image", "device", "simulated_root"):
            if getattr(given, name):
                raise ToolError(
                    Code.WAY_UNCLEAR,
                    f"--{name.replace('_', '-')} goes with --gate",
                    "pass --gate and --policy",
                )


def _study(study: Study, given: Documents, standing: Standing | None, *, needed: bool) -> Examined:
    from sealroom_agents.governance import drafting
    from sealroom_agents.owner.registration import registration_in

    if given.recipe is None:
        if given.policy is not None:
            raise ToolError(
                Code.WAY_UNCLEAR,
                "--policy says nothing of a study without its recipe",
                "pass --recipe app-compose.json",
            )
        if not needed:
            return Examined([])
        if not given.blind:
            raise ToolError(
                Code.RECIPE_NEEDED,
                "a study is approved with its recipe in hand: what leaves, and what it costs, stands there "
                "alone",
                "pass --recipe app-compose.json; --blind approves a hash that nobody here has read",
            )
        return Examined([], (BLIND[Study],))
    recipe = drafting.read_recipe(given.recipe)
    drafting.require_hashes(study, recipe)
    warnings = drafting.doubts(study, recipe)
    lines = [*drafting.recipe_lines(recipe), ("compared with", f"{given.recipe}: the same hashes")]
    if given.policy is not None:
        accepted, doubt = _accepted(recipe, given.policy, standing)
        lines += accepted
        warnings += doubt
    if not given.surplus:
        drafting.require_no_surplus(study, recipe)
    if standing is not None:
        drafting.require_datasets(standing, study, recipe, chosen=given.chosen)
    elif given.registrations:
        registered = drafting.match(recipe, [registration_in(path) for path in given.registrations])
        if sorted(one.dataset for one in registered) != list(study.datasets):
            raise drafting.differs("its datasets are not those of the registrations")
        lines.append(("compared with", "the registrations: the same datasets"))
    else:
        drafting.require_as_many(study, recipe)
        warnings.append(
            "without a chain nobody knows whose the dataset ids are: pass --registrations, or look at "
            "`govern show` elsewhere"
        )
    return Examined(lines, tuple(warnings), recipe)


def _gate(content: PlatformProposal, given: Documents, chain_id: int) -> Examined:
    from sealroom_agents.governance.attested import attested

    mine, lines = attested(
        str(given.gate),
        chain_id=chain_id,
        policy=given.policy,
        os_images=given.os_image,
        devices=given.device,
        root=given.simulated_root,
    )
    if not given.os_image and set(content.os_images) <= set(mine.os_images):
        mine = replace(mine, os_images=content.os_images)  # of the policy's images, it may trust some
    _require_same(content, mine, f"compared with what the gate at {given.gate} proves, and what you named")
    for path in given.against:
        _require_same(content, _own(content, path), f"compared with {path}")
    return Examined(
        [*lines, ("compared with", "the gate's own evidence, your policy and machines: the same")]
    )


def _accepted(recipe: Recipe, path: Path, standing: Standing | None) -> tuple[Lines, list[str]]:
    """What a platform policy in hand says of the recipe's guarantee and GPUs, and what is doubtful there.

    A vote for what the gate's policy does not accept gets nobody a key: another policy takes another
    platform, and that voids the vote. Raises `guarantee-not-accepted`, `gpu-evidence-unverified`;
    `proposal-differs` where the owners adopted another policy.
    """
    rules, name = _rules(path), recipe.guarantee.name
    adopted = None if standing is None or standing.platform is None else standing.platform.policy_hash
    if adopted not in (None, rules.hash):
        raise ToolError(
            Code.PROPOSAL_DIFFERS,
            f"the owners adopted the platform policy {to_hex(adopted or b'')}, and that of {path} is "
            f"{to_hex(rules.hash)}",
            "pass the document that the gate judges by: it serves it at /v1/policy",
        )
    if name not in rules.guarantees:
        raise ToolError(
            Code.GUARANTEE_NOT_ACCEPTED,
            f"the recipe's guarantee is {name}, and the owners accept {' and '.join(rules.guarantees)}",
            "the gate gives such a recipe no key, whoever approves it; another policy takes a new platform",
        )
    if recipe.gpu is not None and rules.gpu is None:
        raise ToolError(
            Code.GPU_EVIDENCE_UNVERIFIED,
            f"the recipe demands GPUs ({recipe.gpu}), and the owners' policy accepts no evidence of any",
            "the gate gives such a recipe no key, whoever approves it; another policy takes a new platform",
        )
    known = adopted is not None
    doubt = [] if known else [f"whether the owners adopted the policy of {path} is not known here"]
    return [("policy", f"{'adopted by the owners, ' * known}accepts {' and '.join(rules.guarantees)}")], doubt


def _policy(content: PlatformProposal, path: Path) -> Lines:
    rules = _rules(path)
    if rules.hash != content.policy_hash:
        raise _differs(
            content,
            f"its policyHash is {to_hex(content.policy_hash)}, and that of {path} is {to_hex(rules.hash)}",
        )
    return [("compared with", f"{path}: the policy's hash")]


def _rules(path: Path) -> PlatformPolicy:
    from sealroom.platform_policy import MAX_POLICY_BYTES, PlatformPolicy
    from sealroom_agents.cli.terminal import read_bounded

    return PlatformPolicy.parse(read_bounded(path, MAX_POLICY_BYTES, "a platform policy"))


def _own(content: Content, path: Path) -> Record:
    """A file of one's own: a proposal that one's own desk wrote, or the bare values."""
    if "kind" in read_json(path):
        mine = load_content(path)
        if type(mine) is not type(content):
            raise _differs(content, f"{path} holds another kind of proposal: {kind_of(mine)}")
        return mine
    return load_platform(path) if isinstance(content, PlatformProposal) else load_machines(path)


def _require_same(content: Content, mine: Record, what: str) -> None:
    fields = Platform if isinstance(content, PlatformProposal) else Machines
    for part in fields.parts():
        asked, held = getattr(content, part.attribute), getattr(mine, part.attribute)
        if asked != held:
            raise _differs(content, f"its {part.name} {_told(asked, held)} ({what})")


def _told(asked: Any, held: Any) -> str:
    """How two values differ, in words."""
    if not isinstance(asked, tuple):
        return f"is {_text(asked)}, and {_text(held)} was expected"
    more = [_text(one) for one in asked if one not in held]
    less = [_text(one) for one in held if one not in asked]
    parts = [f"name {', '.join(more)}, which you do not"] * bool(more)
    parts += [f"lack {', '.join(less)}, which you name"] * bool(less)
    return ", and ".join(parts)


def _text(value: Any) -> str:
    return to_hex(value) if isinstance(value, bytes) else str(value)


def _roster(content: RosterProposal, given: Documents) -> Lines:
    """Owners who join, by their files; or the whole of a roster that one's own desk wrote."""
    if not given.against:
        return []
    owners: list[Owner] = []
    for path in given.against:
        if "kind" in read_json(path):
            mine = load_content(path)
            same = isinstance(mine, RosterProposal) and all(
                getattr(mine, part.attribute) == getattr(content, part.attribute)
                for part in content.parts()
                if part.attribute not in BESIDE
            )
            if not same:
                raise _differs(content, f"{path} holds something else")
            return [("compared with", f"{path}: the same")]
        owners += load_owners(path)
    for one in content.add:
        if one not in owners:
            raise _differs(content, f"it seats {one.id} with {one.account}, which no file says")
    for one in owners:
        if one not in content.add:
            raise _differs(content, f"it does not seat {one.id} with {one.account}, as a file says")
    return [("compared with", "the files of all who join: the same")]


def _differs(content: Content, why: str) -> ToolError:
    return ToolError(
        Code.PROPOSAL_DIFFERS,
        f"the proposal is not what you have in hand: {why}",
        "do not approve it; ask who proposed it",
    )
