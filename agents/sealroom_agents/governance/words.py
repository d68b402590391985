# SPDX-License-Identifier: Apache-2.0
"""Proposals, events and amounts as lines for a person who is about to decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sealroom.encoding import to_hex
from sealroom.model import (
    Allowance,
    Limits,
    Machines,
    MachinesProposal,
    Owner,
    Platform,
    Roster,
    RosterProposal,
    Study,
)
from sealroom.model.units import delta_text, epsilon_text, time_text
from sealroom_agents.chain.logs import Happening
from sealroom_agents.cli.terminal import plural
from sealroom_agents.governance.proposals import (
    DECISIONS,
    SILENCE_S,
    Content,
    Outlook,
    Proposal,
    content_of,
    subject,
)
from sealroom_agents.governance.standing import NO_HASH, NOBODY, DatasetFacts, Standing

Lines = list[tuple[str, str]]


def short(data: bytes) -> str:
    """A hash for a line with other things; whole hashes stand on lines of their own."""
    text = to_hex(data)
    return f"{text[:10]}…{text[-4:]}"


def owner_line(owner: Owner) -> str:
    """An owner in one line."""
    return f"{owner.id}  {owner.account}  {owner.jurisdiction}  {', '.join(owner.regimes)}"


def content_lines(standing: Standing, content: Content) -> Lines:
    """All of a proposal's content, with names for what the chain knows by name."""
    if isinstance(content, Study):
        return _study(standing, content)
    if isinstance(content, RosterProposal):
        lines = [("removes", f"{one}: its data lock with its seat") for one in content.remove]
        lines += [("adds", owner_line(one)) for one in content.add]
        after = len(standing.owners) - len(content.remove) + len(content.add)
        lines.append(("approvals", f"{content.threshold} of {after} grant afterwards"))
    else:
        lines = [
            (label, value) for label, value in content.lines() if label not in ("counts until", "follows")
        ]
    return [*lines, ("counts until", time_text(content.expiry)), ("follows", to_hex(content.follows))]


def proposed(content: Content) -> str:
    """What a proposal asks for, in one sentence: the same whatever governs when it is read."""
    if isinstance(content, Study):
        return (
            f"the recipe {short(content.compose_hash)} may run {plural(content.max_runs, 'time')} until "
            f"{time_text(content.expiry)}, and spend ε {epsilon_text(content.epsilon_micro)}"
        )
    if isinstance(content, RosterProposal):
        parts = [f"{one} loses its seat, and its data lock" for one in content.remove]
        parts += [f"{one.id} gets a seat" for one in content.add]
        return f"{'; '.join(parts) or 'nobody comes or goes'}; {content.threshold} approvals grant"
    if isinstance(content, MachinesProposal):
        return (
            f"{plural(len(content.os_images), 'OS image')} and {plural(len(content.devices), 'machine')} "
            "more to trust"
        )
    return f"the gate {content.gate_signer}, under the policy {short(content.policy_hash)}"


def effect(standing: Standing, content: Content) -> str:
    """What would happen if it took effect now, in one sentence."""
    ends = "; the live study ends" if standing.live else ""
    if isinstance(content, Study):
        return proposed(content) + ("; it replaces the live study" if standing.live else "")
    if isinstance(content, RosterProposal):
        return f"{proposed(content)}{ends}; votes for platforms, machines and studies are void"
    if isinstance(content, MachinesProposal):
        return f"{proposed(content)}; nothing ends"
    before = standing.platform
    if before is None:
        adopted = "this is the first platform"
    elif before.gate_root == content.gate_root:
        adopted = "this platform replaces the one before (the gate stays)"
    else:
        adopted = "this platform replaces the one before (another gate: new wraps)"
    return f"{adopted}{ends}; votes for machines and studies are void"


def outlook_text(outlook: Outlook) -> str:
    """What is missing, in words."""
    if outlook.blocked:
        return f"it cannot take effect: {outlook.blocked}"
    parts = [", ".join(outlook.missing)] if outlook.missing else []
    if outlook.more:
        parts.append(f"{outlook.more} more of {'the others' if parts else 'the owners'}")
    return " and ".join(parts) or "nobody"


def proposal_lines(standing: Standing, proposal: Proposal, outlook: Outlook) -> Lines:
    """A proposal with its votes."""
    lines = [
        (proposal.kind, to_hex(proposal.id)),
        *content_lines(standing, proposal.content),
        ("approved", ", ".join(proposal.approved) or "by nobody"),
    ]
    if proposal.withdrawn:
        lines.append(("withdrew", ", ".join(proposal.withdrawn)))
    lines += [
        ("missing", outlook_text(outlook)),
        ("would happen", effect(standing, proposal.content)),
    ]
    if isinstance(proposal.content, RosterProposal) and proposal.content.remove and not proposal.content.add:
        due = proposal.since + SILENCE_S
        who = ", ".join(proposal.content.remove)
        told = f"if all who stay want it, {who} can be removed from {time_text(due)} on; to stay, an owner "
        told += "confirms or withdraws once after the vote"
        if due >= proposal.expiry:
            told = f"it expires before {time_text(due)}, so nobody can be removed as silent by it"
        lines.append(("silence", told))
    if proposal.heard:
        lines.append(("heard", f"{', '.join(proposal.heard)}, since the last vote: not silent"))
    return lines


def proposal_json(standing: Standing, proposal: Proposal, outlook: Outlook) -> dict[str, Any]:
    """The same for programs."""
    return {
        "id": to_hex(proposal.id),
        "kind": proposal.kind,
        "content": proposal.content.to_json(),
        "approved": list(proposal.approved),
        "withdrawn": list(proposal.withdrawn),
        "heard": list(proposal.heard),
        "counts": proposal.counts,
        "missing": list(outlook.missing),
        "more": outlook.more,
        "blocked": outlook.blocked or None,
        "effect": effect(standing, proposal.content),
    }


def _study(standing: Standing, study: Study) -> Lines:
    lines = [
        ("recipe", to_hex(study.compose_hash)),
        ("output", to_hex(study.output_hash)),
        ("privacy", to_hex(study.privacy_hash)),
    ]
    for facts, version in zip(standing.datasets(study.datasets), study.versions, strict=True):
        which = f"version {version}" if version else f"newest version, now {facts.dataset.versions}"
        lines.append(("dataset", f"{standing.dataset_name(facts)}  {which}  {to_hex(facts.id)}"))
    return [
        *lines,
        ("budget", f"ε {epsilon_text(study.epsilon_micro)}, δ {delta_text(study.delta_pico)}, all runs"),
        ("runs", f"{study.max_runs}"),
        ("expires", time_text(study.expiry)),
        ("basis", to_hex(study.basis)),
        ("studies before", f"{study.nonce}"),
    ]


def cost_lines(standing: Standing, study: Study) -> Lines:
    """What the study would spend of each dataset, and whether that is left."""
    lines = []
    for facts in standing.datasets(study.datasets):
        account, allowance = facts.account, facts.allowance
        left = min(
            account.epsilon_cap - account.epsilon_spent,
            max(0, allowance.epsilon_cap - allowance.epsilon_spent),
        )
        fits = "" if study.epsilon_micro <= left else "  does not fit: not all runs can open"
        lines.append(
            (
                "costs",
                f"{standing.dataset_name(facts)}  ε {epsilon_text(study.epsilon_micro)} of "
                f"{epsilon_text(left)} left here; over its life ε {epsilon_text(account.epsilon_spent)} of "
                f"{epsilon_text(account.epsilon_cap)} is spent{fits}",
            )
        )
    return lines


def difference(before: Study | None, study: Study, standing: Standing) -> Lines:
    """What changed since the study that was approved last."""
    if before is None:
        if standing.nonce:
            return [("differs", "not known: the study approved last is older than the history that was read")]
        return [("differs", "it is the first study of this consortium")]
    lines: Lines = []

    def compare(label: str, old: str, new: str) -> None:
        if old != new:
            lines.append(("differs", f"{label}: {new}; it was {old}"))

    compare("recipe", short(before.compose_hash), short(study.compose_hash))
    compare("output", short(before.output_hash), short(study.output_hash))
    compare("privacy", short(before.privacy_hash), short(study.privacy_hash))
    compare("ε", epsilon_text(before.epsilon_micro), epsilon_text(study.epsilon_micro))
    compare("δ", delta_text(before.delta_pico), delta_text(study.delta_pico))
    compare("runs", str(before.max_runs), str(study.max_runs))
    compare("expires", time_text(before.expiry), time_text(study.expiry))
    old, new = (dict(zip(one.datasets, one.versions, strict=True)) for one in (before, study))
    for facts in standing.datasets(sorted({*old, *new})):
        name = standing.dataset_name(facts)
        if facts.id not in old:
            lines.append(("differs", f"dataset {name} is new"))
        elif facts.id not in new:
            lines.append(("differs", f"dataset {name} is no longer used"))
        else:
            compare(f"version of {name}", _version(old[facts.id]), _version(new[facts.id]))
    return lines or [("differs", "in nothing but basis and number from the study approved last")]


def _version(number: int) -> str:
    return f"{number}" if number else "the newest"


def platform_lines(platform: Platform | None) -> Lines:
    """The adopted platform."""
    if platform is None:
        return [("platform", "none adopted yet")]
    return [
        ("gate", f"{platform.gate_signer}  root {to_hex(platform.gate_root)}"),
        ("gate recipe", to_hex(platform.gate_compose)),
        ("policy", to_hex(platform.policy_hash)),
        ("machines", f"{len(platform.devices)}, OS images {len(platform.os_images)}"),
    ]


def dataset_line(standing: Standing, facts: DatasetFacts) -> str:
    """A dataset with its budget in one line."""
    account, allowance = facts.account, facts.allowance
    version = standing.version_of(facts.id, facts.dataset.versions)
    return (
        f"{standing.dataset_name(facts)}  {version.rows:,} rows  version {facts.dataset.versions}  "
        f"here ε {epsilon_text(allowance.epsilon_spent)} of {epsilon_text(allowance.epsilon_cap)}, "
        f"δ {delta_text(allowance.delta_spent)} of {delta_text(allowance.delta_cap)}, "
        f"a day ε {epsilon_text(allowance.epsilon_per_day)} and {allowance.runs_per_day} runs; "
        f"for life ε {epsilon_text(account.epsilon_spent)} of {epsilon_text(account.epsilon_cap)}, "
        f"δ {delta_text(account.delta_spent)} of {delta_text(account.delta_cap)}  {to_hex(facts.id)}"
    )


def dataset_json(standing: Standing, facts: DatasetFacts) -> dict[str, Any]:
    """The same for programs."""
    return {
        "id": to_hex(facts.id),
        "owner": standing.name(facts.dataset.holder),
        "name": facts.dataset.name,
        "versions": facts.dataset.versions,
        "rows": standing.version_of(facts.id, facts.dataset.versions).rows,
        "account": facts.account.to_json(),
        "allowance": facts.allowance.to_json(),
    }


def limits_of(allowance: Allowance) -> Limits:
    """What an allowance allows, without what is spent."""
    return Limits(
        epsilon_micro=allowance.epsilon_cap,
        delta_pico=allowance.delta_cap,
        epsilon_per_day=allowance.epsilon_per_day,
        runs_per_day=allowance.runs_per_day,
    )


def happening(standing: Standing, event: Happening, deciding: Mapping[bytes, Sequence[str]]) -> str:
    """One event in one sentence. deciding: by whose vote what took effect, by its id."""
    last = deciding.get(subject(event), ()) if event.name in DECISIONS else ()
    what = _event(standing, event)
    # No event of its own tells of the vote by which something takes effect.
    return f"{', '.join(last)} approved, and so: {what}" if last else what


def _event(standing: Standing, event: Happening) -> str:
    fields = event.fields

    def who(field: str) -> str:
        return standing.name(fields[field])

    def approvers() -> str:
        return ", ".join(standing.named(fields["approvals"])) or "owners who left"

    if event.name == "Revoked":
        study = fields["study"]
        what = f"study {short(study)}" if study != NO_HASH else "while nothing was live"
        return f"{who('owner')} revoked {what}: {fields['reason'] or 'no reason given'}"
    if event.name == "StudyPinned":
        return f"study {short(fields['study'])} is live, approved by {approvers()}"
    if event.name == "PlatformAdopted":
        return f"platform {short(fields['proposal'])} was adopted by {approvers()}"
    if event.name == "MachinesAdded":
        machines = Machines.of_abi(fields["machines"])
        return (
            f"{len(machines.devices)} machines and {len(machines.os_images)} OS images were added by "
            f"{approvers()}"
        )
    if event.name == "RosterChanged":
        roster = Roster.of_abi(fields["roster"])
        removed = f"removed {', '.join(roster.remove)}; " if roster.remove else ""
        added = f"added {', '.join(one.id for one in roster.add)}; " if roster.add else ""
        return f"{removed}{added}{roster.threshold} approvals grant"
    if event.name == "Approved":
        return f"{who('owner')} approved {short(fields['proposal'])}"
    if event.name == "Withdrawn":
        return f"{who('owner')} withdrew from {short(fields['proposal'])}"
    if event.name == "SeatOffered":
        if fields["to"] == NOBODY:
            return f"{who('owner')} took its offer of its seat back"
        when = time_text(fields["from"])
        return f"{who('owner')} offers its seat to {fields['to']}, who may take it at {when}"
    if event.name == "SeatMoved":
        return f"the seat of {fields['owner']} is held by {who('to')} now, with account {fields['to']}"
    if event.name == "Confirmed":
        return f"{who('owner')} confirmed its seat"
    if event.name == "UnpinFailed":
        return f"the app did not drop {short(fields['composeHash'])}"
    content = content_of(event)
    kind = "study" if isinstance(content, Study) else event.name.removesuffix("Proposed").lower()
    return f"{kind} {short(content.id)} was proposed: {proposed(content)}"


def joined(blocks: Sequence[Lines]) -> Lines:
    """Blocks of lines with an empty line between."""
    lines: Lines = []
    for block in blocks:
        lines += [("", "")] * bool(lines) + block
    return lines
