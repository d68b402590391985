# SPDX-License-Identifier: Apache-2.0
"""What `sealroom status` says: lines for a person, facts for a program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.encoding import to_hex
from sealroom.model.units import delta_text, epsilon_text, time_text
from sealroom_agents.cli.sealed_here import BROKEN, MISSING, PLAIN, KeyHere, SealedHere
from sealroom_agents.cli.terminal import Red, coloured, plural, size
from sealroom_agents.owner.approval import NOT_PROPOSED, PROPOSED
from sealroom_agents.owner.overview import DIFFERS, NOT_REGISTERED, OfConsortium, is_known

if TYPE_CHECKING:
    from sealroom.sealed import SealedInfo
    from sealroom_agents.errors import ChainError
    from sealroom_agents.facts import DatasetRecord
    from sealroom_agents.owner.approval import ApprovalState

NOT_ASKED = "not-asked"


def lines(
    found: Sequence[SealedHere], asked: Sequence[OfConsortium] | None, *, sealed: Path
) -> Iterator[str]:
    """One screen: a block for each dataset, and what was not asked."""
    if not found:
        yield f"nothing is sealed in {sealed}"
    for (place, name), versions in groupby(found, key=_dataset_of):
        yield f"{place}/{name}"
        files = list(versions)
        for one in files:
            yield from _version(one, asked)
        for what, said in _budget(files, asked or ()):
            yield _line(what, said)
    elsewhere = list(_elsewhere(found, asked or ()))
    for record, of in elsewhere:
        yield f"{record.holder_id or record.holder}/{record.name}  no sealed file here"
        yield _line("chain", f"version {record.number}, {record.version.rows:,} rows")
        for what, said in _spent(record, of):
            yield _line(what, said)
    if asked is None:
        yield "chain: not asked: --rpc URL tells what is registered, which studies are in force, budget left"
    elif not asked:
        yield "chain: no consortium to ask: no file is wrapped for one; name --consortium"
    for of in asked or ():
        view = of.view
        veto = "" if not view.revokers else f"; revoked by {', '.join(_ids(of, view.revokers))}"
        yield (
            f"chain: {view.consortium} at finalized block {view.block_number}, "
            f"{len(view.owners)} owners, a study needs {view.threshold} and each whose data it reads{veto}"
        )


def _line(label: str, said: str) -> str:
    return f"    {label:<8}{coloured(said)}".rstrip()


def _version(one: SealedHere, asked: Sequence[OfConsortium] | None) -> Iterator[str]:
    if one.info is None:
        fault = "" if one.fault is None else f": {one.fault.message}"
        yield f"  {coloured(Red(f'broken  {one.path}{fault}'))}"
        yield _line("key", _key(one.key))
        return
    info, header = one.info, one.info.header
    rows = "no table" if header.rows is None else f"{header.rows:,} rows"
    yield f"  version {header.dataset_version}  {rows}, {size(info.sealed_size)}  {one.path}"
    yield _line("key", _key(one.key))
    if asked is not None:
        yield _line("chain", _registered(one, asked))
    wrap = info.wrap
    if wrap is None:
        yield _line("opens", "for nobody yet: sealroom reseal wraps its key for a study")
        return
    yield _line("opens", f"recipe {to_hex(wrap.compose_hash)} of {wrap.consortium}, chain {wrap.chain_id}")
    approval = _approval(one, asked or ())
    if approval is not None:
        yield _line("study", _study(one, approval, asked or ()))


def _key(key: KeyHere) -> str:
    if key.state == MISSING:
        return Red(f"missing: no {key.path}")
    if key.state == BROKEN:
        return Red(f"{key.path} is no data key, or others can read it")
    if key.state == PLAIN or key.file is None:
        return f"{key.path}  plain: whoever reads the file has it"
    return f"{key.path}  for {', '.join(slot.name for slot in key.file.slots)}"


def _state(one: SealedHere, asked: Sequence[OfConsortium]) -> str:
    """Whether a file is registered; every consortium of a chain reads the same registry."""
    if one.info is None or not asked:
        return NOT_ASKED
    return asked[0].registered(one.info)


def _registered(one: SealedHere, asked: Sequence[OfConsortium]) -> str:
    state = _state(one, asked)
    if one.info is None or state == NOT_ASKED:
        return "not asked"
    found = asked[0].datasets.get(one.info.dataset_id)
    newest = 0 if found is None else found.number
    if state == NOT_REGISTERED:
        return (
            f"not registered{f'; the newest is version {newest}' if newest else ': sealroom govern register'}"
        )
    if state == DIFFERS:
        return Red("another file is registered under this number: do not send this one")
    number = one.info.header.dataset_version
    return f"registered, {'the newest' if newest == number else f'the newest is version {newest}'}"


def _approval(one: SealedHere, asked: Sequence[OfConsortium]) -> ApprovalState | None:
    wrap = None if one.info is None else one.info.wrap
    if wrap is None:
        return None
    return next(
        (of.approvals.get(wrap.compose_hash) for of in asked if of.view.consortium == wrap.consortium), None
    )


def _study(one: SealedHere, approval: ApprovalState, asked: Sequence[OfConsortium]) -> str:
    if approval.code is not None:
        by = ", ".join(approval.approved_by) or "nobody"
        state = {
            NOT_PROPOSED: "no study with this recipe is before the owners",
            PROPOSED: f"proposed, and approved by {by} so far",
        }.get(approval.state, approval.state)
        veto = "" if approval.revoked_by is None else f", {approval.revoked_by} revoked"
        return f"opens nothing now: {state}{veto}"
    wrap = None if one.info is None else one.info.wrap
    of = next(of for of in asked if wrap is not None and of.view.consortium == wrap.consortium)
    study = of.view.study
    left = (
        ""
        if study is None
        else f", {study.max_runs - of.view.spending.runs:,} of {study.max_runs:,} runs left"
    )
    other = "" if one.info is None else _other(one.info, of)
    return f"{other}in force until {time_text(approval.expiry)}{left}"


def _other(info: SealedInfo, of: OfConsortium) -> str:
    """Which version the active study reads, pinned or the newest, where that is not this one."""
    study, record = of.view.study, of.datasets.get(info.dataset_id)
    if study is None or record is None or info.dataset_id not in study.datasets:
        return ""
    read = study.versions[study.datasets.index(info.dataset_id)] or record.number
    return "" if read == info.header.dataset_version else f"reads version {read}, not this one; "


def _budget(files: Sequence[SealedHere], asked: Sequence[OfConsortium]) -> Iterator[tuple[str, str]]:
    ids = {one.info.dataset_id for one in files if one.info is not None}
    for dataset in sorted(ids):
        for number, of in enumerate(asked):
            record = of.datasets.get(dataset)
            if record is not None and is_known(record):
                yield from list(_spent(record, of))[0 if number == 0 else 1 :]


def _spent(record: DatasetRecord, of: OfConsortium) -> Iterator[tuple[str, str]]:
    """The lifetime account, then what this consortium may spend."""
    account, allowance = record.account, record.allowance
    life = _left(account.epsilon_cap, account.epsilon_spent, account.delta_cap, account.delta_spent)
    yield "budget", f"{life} in its life"
    if not allowance.epsilon_cap and not allowance.epsilon_spent:
        yield "", f"nothing is allowed to {of.view.consortium}"
        return
    here = _left(allowance.epsilon_cap, allowance.epsilon_spent, allowance.delta_cap, allowance.delta_spent)
    yield "", f"{here} for {of.view.consortium}, {plural(allowance.runs_per_day, 'run')} a day"


def _left(cap: int, spent: int, delta_cap: int, delta_spent: int) -> str:
    left = f"ε {epsilon_text(max(0, cap - spent))} of {epsilon_text(cap)} left"
    if delta_cap:
        left += f", δ {delta_text(max(0, delta_cap - delta_spent))} of {delta_text(delta_cap)}"
    return left


def _elsewhere(
    found: Sequence[SealedHere], asked: Sequence[OfConsortium]
) -> Iterator[tuple[DatasetRecord, OfConsortium]]:
    """Datasets on chain of which no file lies here."""
    here = {one.info.dataset_id for one in found if one.info is not None}
    for of in asked:
        for dataset, record in of.datasets.items():
            if dataset not in here and is_known(record):
                yield record, of


def _ids(of: OfConsortium, accounts: Sequence[str]) -> list[str]:
    names = {one.account: one.id for one in of.view.owners}
    return [names.get(account, account) for account in accounts]


def _dataset_of(one: SealedHere) -> tuple[str, str]:
    return one.place, one.path.stem if one.info is None else one.info.header.dataset


def troubled(found: Sequence[SealedHere], asked: Sequence[OfConsortium] | None) -> bool:
    """Whether something needs its owner: a broken file, a key that is not there, another registration."""
    return any(
        one.info is None or one.key.state in (MISSING, BROKEN) or _state(one, asked or ()) == DIFFERS
        for one in found
    )


def facts(
    found: Sequence[SealedHere], asked: Sequence[OfConsortium] | None, failed: ChainError | None
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "ok": failed is None and not troubled(found, asked),
        "code": None if failed is None else failed.code,
        "files": [_file(one, asked) for one in found],
        "consortia": None if asked is None else [_consortium(of) for of in asked],
    }


def _file(one: SealedHere, asked: Sequence[OfConsortium] | None) -> dict[str, Any]:
    info, key = one.info, one.key
    row: dict[str, Any] = {
        "owner": one.place,
        "sealed": str(one.path),
        "code": None if one.fault is None else one.fault.code,
        "key": {
            "path": str(key.path),
            "state": key.state,
            "recipients": None if key.file is None else [slot.name for slot in key.file.slots],
        },
    }
    if info is None:
        return row
    header, wrap, approval = info.header, info.wrap, _approval(one, asked or ())
    return {
        **row,
        "dataset": header.dataset,
        "datasetId": to_hex(info.dataset_id),
        "account": header.owner,
        "datasetVersion": header.dataset_version,
        "rows": header.rows,
        "size": header.size,
        "sealedSize": info.sealed_size,
        "headerDigest": to_hex(info.header_digest),
        "wrap": None
        if wrap is None
        else {
            "chainId": wrap.chain_id,
            "consortium": wrap.consortium,
            "composeHash": to_hex(wrap.compose_hash),
        },
        "registered": _state(one, asked or ()),
        "approval": None if approval is None else approval.facts(),
    }


def _consortium(of: OfConsortium) -> dict[str, Any]:
    view = of.view
    return {
        "consortium": view.consortium,
        "chainId": view.chain_id,
        "block": view.block_number,
        "revokedBy": _ids(of, view.revokers),
        "study": None
        if view.study is None
        else {
            "composeHash": to_hex(view.study.compose_hash),
            "live": view.live,
            "expiry": view.study.expiry,
            "maxRuns": view.study.max_runs,
            "runs": view.spending.runs,
        },
        "datasets": [
            {
                "datasetId": to_hex(record.id),
                "dataset": record.name,
                "holder": record.holder,
                "newest": record.number,
                "lifetime": record.account.to_json(),
                "allowance": record.allowance.to_json(),
            }
            for record in of.datasets.values()
            if is_known(record)
        ],
    }
