# SPDX-License-Identifier: Apache-2.0
"""A gate is adopted from the page: its evidence is verified in the browser under the policy that an owner has
read, the hashes are computed there, and a call for anything else reaches no wallet (WE-01, AT-30, AT-34)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.agents.browsing import Wallet, opened, served, with_wallet
from tests.agents.changing import SENDING, change, checked, refused, sent
from tests.agents.labs import registered
from tests.agents.test_browser_form import AXE, RULES, WIDER
from tests.gate_answers import APP_ID, COMPOSE, gate_answer
from tests.local_chain import account
from tests.outside import Lab

from sealroom.encoding import canonical, to_hex
from sealroom.key_release import GateIdentity
from sealroom.model import Platform, PlatformProposal
from sealroom.platform_policy import LiteImage, PlatformPolicy
from sealroom_agents.chain.contracts import interface
from sealroom_agents.governance.files import in_call
from sealroom_agents.simulator import SimulatedEnclave, SimulatedPlatform
from sealroom_agents.simulator.gpu.data_centre import GPU_RULES

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

A, B = account(0), account(1)
SIMULATED = SimulatedPlatform(b"\x61" * 32)
POLICY, NEXT = (
    SIMULATED.policy(),
    SIMULATED.policy(emit="safe", guarantees=("by-construction",), lease_seconds=60),
)
MACHINE, OTHER = b"\x77" * 32, b"\x66" * 32
VERIFIED = "the gate’s quote holds (SIMULATED TDX, not Intel, TCB UpToDate)"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with registered(tmp_path_factory.mktemp("adopt")) as made:
        yield made


@pytest.fixture(scope="module")
def url(lab: Lab) -> Iterator[str]:
    with served(lab.reader, lab.store, lab.room.factory) as url:
        yield url


@pytest.fixture(scope="module")
def gates() -> dict[bytes, GateIdentity]:
    """The gate's answer under each policy, by the policy's hash."""
    now = int(time.time())
    return {one.hash: gate_answer(SIMULATED, issued=now, policy=one) for one in (POLICY, NEXT)}


def written(folder: Path, **files: bytes) -> list[Path]:
    """New files of these names and bytes: a browser tells of no file that it has already."""
    fresh = Path(mkdtemp(dir=folder))
    for name, data in files.items():
        (fresh / name).write_bytes(data)
    return [fresh / name for name in files]


def files_of(
    folder: Path, gate: GateIdentity, *policies: PlatformPolicy, root: bytes = SIMULATED.root_der
) -> list[Path]:
    named = {f"policy-{place}.json": one.encode() for place, one in enumerate(policies)}
    return written(folder, **{"gate.json": canonical(gate.to_json()), "root.der": root, **named})


def platform_of(gate: GateIdentity, policy: PlatformPolicy, *devices: bytes) -> Platform:
    return Platform(
        gate_root=gate.gate_root, gate_signer=gate.signer, gate_compose=gate.compose_hash,
        policy_hash=policy.hash, os_images=tuple(sorted({one.digest for one in policy.os_images})),
        devices=devices,
    )  # fmt: skip


def asked_for(platform: Platform) -> dict[str, str]:
    """The address bar of a form that asks for it."""
    return {
        "what": "platform", "root": to_hex(platform.gate_root), "signer": platform.gate_signer,
        "compose": to_hex(platform.gate_compose), "policy": to_hex(platform.policy_hash),
        "images": "\n".join(map(to_hex, platform.os_images)), "days": "30",
        "devices": "\n".join(map(to_hex, platform.devices)),
    }  # fmt: skip


def drop(page: Page, files: Sequence[Path]) -> None:
    page.set_input_files("[data-gate-files]", files)


def test_a_gate_is_adopted_from_its_files(
    browser: Browser, lab: Lab, url: str, gates: dict[bytes, GateIdentity], tmp_path: Path
) -> None:
    """From the files to the chain: one owner proposes it, the second compares the same files and approves."""
    gate = gates[POLICY.hash]
    files, wanted = files_of(tmp_path, gate, POLICY), platform_of(gate, POLICY, MACHINE)
    before = lab.chain.state(lab.room).platform
    with opened(browser) as page:
        wallet = Wallet(lab.chain, A)
        with_wallet(page, wallet)
        page.goto(change(url, lab))
        form, said = page.locator("form[data-platform]"), page.locator("[data-gate-said]")
        expect(form.locator("textarea[name=devices]")).to_have_value(to_hex(before.devices[0]) + "\n")
        drop(page, files)
        expect(said).to_contain_text(VERIFIED)
        expect(said).to_contain_text("What differs from the policy that is adopted now is not told")
        for line in ("strict: nothing", "once the opening is final", "none: no evidence of GPUs is accepted"):
            expect(said).to_contain_text(line)
        for line in ("What this page cannot check", "anybody can make such a gate", "asks the gate itself"):
            expect(said).to_contain_text(line)
        expect(form.locator("input[name=policy]")).to_have_value(to_hex(POLICY.hash))
        expect(form.locator("input[name=signer]")).to_have_value(gate.signer)
        form.locator("textarea[name=devices]").fill(to_hex(MACHINE))
        form.get_by_role("button", name="Show what changes").click()
        expect(page.locator('[data-then="gate’s root key"]')).to_have_text(to_hex(gate.gate_root))
        expect(page.locator('[data-now="platform policy"]')).to_have_text(to_hex(before.policy_hash))
        command = page.locator("pre.example").first
        expect(command).to_contain_text("platform --gate URL --policy platform-policy.json --os-image 0x")
        expect(command).to_contain_text(f"--device {to_hex(MACHINE)} --simulated-root root.der --days 30")
        drop(page, files)
        expect(page.locator("[data-why]")).to_contain_text("of the gate that this call adopts")
        expect(page.locator("[data-gate-said]")).to_contain_text(VERIFIED)
        checked(page)
        call = sent(page, wallet)
    assert call["to"] == lab.room.consortium
    with opened(browser) as page:
        wallet = Wallet(lab.chain, B)
        with_wallet(page, wallet)
        page.goto(url + "/needs-you")
        page.get_by_role("button", name="Ask my wallet").click()
        page.locator('[data-kind="decide-platform"] a.button').click()
        drop(page, files)
        expect(page.locator("[data-why]")).to_contain_text("of the gate that this call adopts")
        checked(page)
        expect(page.locator("[data-why]")).to_have_text(
            "All of it holds. Your wallet shows the call once more."
        )
        vote = sent(page, wallet)
    assert vote["data"] == call["data"]
    assert lab.chain.state(lab.room).platform == wanted


def test_another_call_than_was_asked_for_reaches_no_wallet(
    browser: Browser, lab: Lab, url: str, gates: dict[bytes, GateIdentity]
) -> None:
    """A server that lies in any field of the call, in what is now or would be, in who decides, where it goes
    or how long it counts."""
    gate = gates[NEXT.hash]
    wanted = platform_of(gate, NEXT, MACHINE)
    asked, now = change(url, lab, **asked_for(wanted)), lab.chain.state(lab.room).platform
    under = lab.chain.validity(lab.chain.state(lab.room).charter)

    def call(days: int = 0, **other: Any) -> dict[str, str]:
        terms = replace(under, expiry=under.expiry + days * 86_400)
        content = replace(wanted, **other).under(terms)
        assert isinstance(content, PlatformProposal)
        data = interface("Consortium").encode("adoptPlatform", *in_call(content), [])
        return {"data-data": to_hex(data), "data-proposal": to_hex(content.id)}

    for lie, says in (
        (call(gate_root=b"\x55" * 32), "the gate’s root key differs"),
        (call(gate_signer=account(9)), "the gate’s signer differs"),
        (call(gate_compose=b"\x55" * 32), "the gate’s own recipe differs"),
        (call(policy_hash=POLICY.hash), "the platform policy differs"),
        (call(os_images=(b"\x55" * 32,)), "an OS image differs"),
        (call(devices=tuple(sorted((MACHINE, OTHER)))), "a machine differs"),
        (call(devices=()), "a machine differs"),
        (call(days=60), "how long votes count differs"),
        (call() | {"data-change": "machines"}, "another change than this page shows"),
        (call() | {"data-to": account(9)}, "the contract that it is sent to differs"),
    ):
        refused(browser, lab, asked, A, lie, says)
    cells = {
        "gate’s root key": (now.gate_root, wanted.gate_root),
        "gate’s own recipe": (now.gate_compose, wanted.gate_compose),
        "platform policy": (now.policy_hash, wanted.policy_hash),
        "machines": (now.devices[0], wanted.devices[0]),
    }
    for what, (is_now, then) in cells.items():
        for cell, value, whose in (
            ("now", is_now, "your wallet’s node says "),
            ("then", then, "the call says "),
        ):
            shown = f'data-{cell}="{what}"><code class="hash">{to_hex(value)[:8]}'
            lie = {shown: shown[:-1] + ("1" if shown[-1] == "0" else "0")}
            refused(browser, lab, asked, A, lie, whose + to_hex(value), ticks=2)
    refused(
        browser, lab, asked, A, {"<span data-needed>2 of 3": "<span data-needed>1 of 3"}, "as 1 of 3", ticks=2
    )
    refused(browser, lab, asked, account(7), {}, "None of the accounts that your wallet offers is an owner")


def test_other_files_hold_the_call(
    browser: Browser, lab: Lab, url: str, gates: dict[bytes, GateIdentity], tmp_path: Path
) -> None:
    """Files of another gate or policy keep the call from the wallet; the right ones let it go. With the
    policy that is adopted now, the page says what differs."""
    state, gate = lab.chain.state(lab.room), gates[NEXT.hash]
    if state.platform.policy_hash != POLICY.hash:
        lab.chain.adopt_platform(
            lab.room, gate_root=gate.gate_root, gate_signer=gate.signer, gate_compose=gate.compose_hash,
            os_images=[one.digest for one in POLICY.os_images], devices=[MACHINE], policy_hash=POLICY.hash,
        )  # fmt: skip
    stranger = gate_answer(SIMULATED, issued=int(time.time()), policy=NEXT, root_public_key=b"\x08" * 1216)
    with opened(browser) as page:
        wallet = Wallet(lab.chain, A)
        with_wallet(page, wallet)
        page.goto(change(url, lab, **asked_for(platform_of(gate, NEXT, MACHINE))))
        why, said, send = (
            page.locator("[data-why]"),
            page.locator("[data-gate-said]"),
            page.locator("[data-send]"),
        )
        checked(page)
        expect(why).to_contain_text("The gate’s files were not dropped")
        for files, says in (
            (files_of(tmp_path, stranger, NEXT), "the gate’s root key differs"),
            (files_of(tmp_path, gate, POLICY), "it is another gate, or runs under another policy"),
            (
                files_of(tmp_path, gate, NEXT, root=SimulatedPlatform(b"\x62" * 32).root_der),
                "the root of trust here is",
            ),
        ):
            drop(page, files)
            expect(said).to_contain_text(says)
            expect(why).to_contain_text("not of the gate that this call adopts")
            expect(send).to_be_disabled()
        page.locator("[data-check]").click()  # which does not make them the right ones
        expect(page.locator("[data-problem]")).to_contain_text("not of the gate that this call adopts")
        expect(send).to_be_disabled()
        drop(page, files_of(tmp_path, gate, NEXT, POLICY))
        expect(said).to_contain_text(VERIFIED)
        expect(said).to_contain_text("adopted now in: guarantees, results leave, leases.")
        leaves = said.locator(".differs", has_text="results leave")
        expect(leaves).to_contain_text("Then: once the opening is safe")
        expect(leaves).to_contain_text("Now: once the opening is final")
        leases = said.locator(".differs", has_text="leases")
        expect(leases).to_contain_text("Then: 60 s, granted and renewed on a block at most 90 s old")
        expect(leases).to_contain_text("Now: 30 s")
        expect(send).to_be_disabled()
        checked(page)
        drop(page, written(tmp_path, **{"gate.json": canonical(gate.to_json())}))
        expect(said).to_contain_text("none of the files is a platform policy")
        expect(why).to_contain_text("not of the gate that this call adopts")
        expect(send).to_be_disabled()
        assert not wallet.methods & SENDING
        drop(page, [])  # taken away: the call stands as it did before any file
        expect(said).to_be_empty()
        expect(why).to_contain_text("Read back from the call’s bytes in this page")
        expect(send).to_be_disabled()
        checked(page)
        assert not wallet.methods & SENDING


def test_a_gate_whose_image_the_page_cannot_check_is_not_called_checked(
    browser: Browser, lab: Lab, url: str, tmp_path: Path
) -> None:
    """AT-20: a policy that knows its image by the measurement, and a machine that booted a tampered one and
    says to be that image. The headline says what is open, nothing is filled in, no call is sent as theirs."""
    image = LiteImage(checksums=b"list", measurement=b"cbor", memory=(2048,))
    policy = SIMULATED.policy(os_images=(image,), gpu=GPU_RULES)
    tampered = SimulatedEnclave(SIMULATED, COMPOSE, APP_ID, os_image=image.digest)
    gate = gate_answer(SIMULATED, issued=int(time.time()), policy=policy, subject=tampered)
    files, open_doubt = files_of(tmp_path, gate, policy), "Verified, except for its OS image"
    with opened(browser) as page:
        page.goto(change(url, lab))
        said, form = page.locator("[data-gate-said]"), page.locator("form[data-platform]")
        drop(page, files)
        expect(said.locator(".notice.danger")).to_contain_text(open_doubt)
        expect(said).to_contain_text(
            "Compare with the command: sealroom govern platform --gate URL --policy FILE"
        )
        expect(said).not_to_contain_text("under this policy")
        expect(said).to_contain_text("gives it no keys otherwise")
        expect(said).not_to_contain_text("No gate starts with such a policy")
        for name in ("root", "signer", "compose", "policy"):
            expect(form.locator(f"input[name={name}]")).to_have_value("")
        expect(form.locator("textarea[name=images]")).to_have_value("")
    with opened(browser) as page:
        wallet = Wallet(lab.chain, A)
        with_wallet(page, wallet)
        page.goto(change(url, lab, **asked_for(platform_of(gate, policy, MACHINE))))
        why, send = page.locator("[data-why]"), page.locator("[data-send]")
        checked(page)
        drop(page, files)
        expect(page.locator("[data-gate-said]")).to_contain_text(open_doubt)
        expect(why).to_contain_text("Not sent: the files are of the gate that this call adopts, but")
        expect(send).to_be_disabled()
        page.locator("[data-check]").click()
        expect(page.locator("[data-problem]")).to_contain_text("cannot check the gate’s OS image")
        expect(send).to_be_disabled()
        assert not wallet.methods & SENDING


def test_files_that_are_no_gates_fill_in_nothing(
    browser: Browser, lab: Lab, url: str, gates: dict[bytes, GateIdentity], tmp_path: Path
) -> None:
    """AT-06, AT-30: what is altered, of another chain or no such file is refused in words; the form stays as
    it was. With scripts off it can be typed, and each field has a name."""
    gate = gates[POLICY.hash]
    answer = gate.to_json()
    root, policy = {"root.der": SIMULATED.root_der}, {"policy.json": POLICY.encode()}

    def given(**changes: Any) -> dict[str, bytes]:
        return {"gate.json": canonical({**answer, **changes})}

    other = gate_answer(SIMULATED, issued=int(time.time()), chain_id=1337)
    with opened(browser) as page:
        page.goto(change(url, lab))
        said, field = page.locator("[data-gate-said]"), page.locator("form[data-platform] input[name=policy]")
        for files, says in (
            ({**given(), **policy}, "a simulated platform needs its root.der"),
            (
                {**given(policyHash=to_hex(NEXT.hash)), **root, "policy.json": NEXT.encode()},
                "something else than",
            ),
            (
                {**given(composeHash="0x" + "55" * 32), **policy, **root},
                "booted another recipe than the gate says",
            ),
            ({**given(more=1), **policy, **root}, "unknown field"),
            ({"gate.json": canonical(other.to_json()), **policy, **root}, "serves chain 1337"),
            ({**given(), **root, "policy.json": b"{}"}, "platform policy lacks version"),
            ({**given(), **root, "policy.json": b"{"}, "policy.json: not valid JSON"),
            ({**given(), **root}, "none of the files is a platform policy"),
            ({f"{n}.json": b"{}" for n in range(5)}, "too many files"),
            ({"large.json": b" " * (4 * 1024 * 1024 + 1)}, "too large for a gate’s answer"),
        ):
            drop(page, written(tmp_path, **files))
            expect(said).to_contain_text(says)
            expect(field).to_have_value("")
        drop(page, written(tmp_path, **{**given(), **policy, **root}))
        expect(said).to_contain_text(VERIFIED)
        page.evaluate(AXE)
        assert page.evaluate(RULES) == []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": 320, "height": 800})
            assert not page.evaluate(WIDER)
    context = browser.new_context(java_script_enabled=False)
    still = context.new_page()
    still.goto(change(url, lab))
    form = still.locator("form[data-platform]")
    expect(form.locator("[data-gate-files]")).to_be_hidden()
    for label, value in (
        ("Gate’s root key", to_hex(gate.gate_root)),
        ("Gate’s signer", gate.signer),
        ("Gate’s own recipe", to_hex(gate.compose_hash)),
        ("Platform policy", to_hex(POLICY.hash)),
        ("OS images that may boot", to_hex(POLICY.os_images[0].digest)),
        ("Machines on which", to_hex(OTHER)),
    ):
        form.get_by_label(label).fill(value)
    form.get_by_label("Days that votes count").press("Enter")
    expect(still.locator('[data-then="machines"]')).to_have_text(to_hex(OTHER))
    expect(still.locator("[data-why]")).to_contain_text("Scripts are off")
    context.close()
