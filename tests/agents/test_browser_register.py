# SPDX-License-Identifier: Apache-2.0
"""A sealed file is registered from the page: its hashes are computed in the browser, compared with the call
and the chain, and another file than was dropped reaches no wallet (WE-01, AR-11)."""

from __future__ import annotations

import io
import json
import re
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.agents.browsing import Wallet, opened, served, with_wallet
from tests.agents.changing import SENDING, change, checked, refused, sent
from tests.agents.labs import registered
from tests.local_chain import account
from tests.outside import Lab

from sealroom import sealed
from sealroom.encoding import to_hex
from sealroom.errors import SealroomError
from sealroom.model import dataset_id
from sealroom_agents.chain.contracts import interface
from sealroom_agents.owner.registration import Registration, registration_file, registration_of

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

B, C = account(1), account(2)
PARTS, PART = 3, 16_384


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with registered(tmp_path_factory.mktemp("register")) as made:
        yield made


@pytest.fixture(scope="module")
def url(lab: Lab) -> Iterator[str]:
    with served(lab.reader, lab.store, lab.room.factory) as url:
        yield url


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hospital-C's sealed file, in several parts of which the last is shorter."""
    folder = tmp_path_factory.mktemp("sealed")
    source, target = folder / "cohort-C", folder / "cohort-C.tar"
    source.write_bytes(secrets.token_bytes(PARTS * PART - 1000))
    sealed.seal(
        source, target, recipient=None, owner=C, name="cohort-C", media_type="application/octet-stream",
        part_size=PART, processes=1,
    )  # fmt: skip
    return target


def told(registration: Registration) -> str:
    return json.dumps(registration.to_json())


def drop(page: Page, file: Path) -> None:
    """As a person does, who sees the field once the page's script heeds it."""
    expect(page.locator("[data-sealed]")).to_be_visible()
    page.set_input_files("[data-sealed]", file)


def test_a_sealed_file_is_registered_and_allowed(browser: Browser, lab: Lab, url: str, archive: Path) -> None:
    """From the file to the chain, and on to what this consortium may spend of it."""
    truth = registration_of(sealed.inspect(archive))
    with opened(browser) as page:
        wallet = Wallet(lab.chain, C)
        with_wallet(page, wallet)
        page.goto(change(url, lab))
        form = page.locator("form[data-registration]")
        drop(page, archive)
        expect(page.locator("[data-sealed-said]")).to_contain_text(
            "Computed in this page from the sealed file"
        )
        filled = json.loads(form.locator("textarea").input_value())
        assert filled == truth.to_json()
        form.locator("input[name=epsilon]").fill("9")
        form.get_by_role("button", name="Show what changes").click()
        expect(page.locator('[data-then="sealed header"]')).to_have_text(to_hex(truth.version.header))
        drop(page, archive)
        expect(page.locator("[data-sealed-said]")).to_contain_text(
            "Computed in this page from the sealed file"
        )
        checked(page)
        call = sent(page, wallet)
        asked = ("cohort-C", truth.version.solidity(), 9_000_000, 0)
        assert call["data"] == to_hex(interface("Ledger").encode("register", *asked))
        page.get_by_role("link", name="allow this consortium to spend of it").click()
        form = page.locator(f'[data-dataset="{to_hex(truth.dataset)}"] form').first
        form.locator("input[name=epsilon]").fill("3")
        form.locator("input[name=day]").fill("0")
        form.locator("input[name=runs]").fill("2")
        form.get_by_role("button").click()
        checked(page)
        page.locator("[data-send]").click()
        expect(page.locator("[data-why]")).to_contain_text("Done.")
    ledger = lab.room.ledger
    version = lab.chain.call("Ledger", ledger, "versionOf", truth.dataset, 1)
    assert (version["header"], version["index"]) == (truth.version.header, truth.version.index)
    assert lab.chain.call("Ledger", ledger, "accountOf", truth.dataset)["epsilonCap"] == 9_000_000
    left = lab.chain.call("Ledger", ledger, "allowanceOf", truth.dataset, lab.room.consortium)
    assert left["epsilonCap"] == 3_000_000


def test_a_further_version_comes_from_what_was_written_beside_it(
    browser: Browser, lab: Lab, url: str, tmp_path: Path
) -> None:
    data = lab.datasets[1]
    version = replace(data.version, header=b"\x31" * 32, index=b"\x32" * 32, rows=1234)
    given = Registration(dataset=data.id, owner=B, name=data.name, number=2, version=version)
    file = tmp_path / "cohort-B.registration.json"
    file.write_bytes(registration_file(given))
    with opened(browser) as page:
        wallet = Wallet(lab.chain, B)
        with_wallet(page, wallet)
        page.goto(change(url, lab))
        drop(page, file)
        expect(page.locator("[data-sealed-said]")).to_contain_text("the hashes are that file’s word")
        page.locator("form[data-registration] button[type=submit]").click()
        expect(page.locator('[data-now="sealed header"]')).to_have_text(to_hex(data.header))
        checked(page)
        sent(page, wallet)
    assert lab.chain.call("Ledger", lab.room.ledger, "datasetOf", data.id)["versions"] == 2
    assert lab.chain.call("Ledger", lab.room.ledger, "versionOf", data.id, 2)["header"] == b"\x31" * 32


def test_another_file_than_was_dropped_reaches_no_wallet(
    browser: Browser, lab: Lab, url: str, archive: Path, tmp_path: Path
) -> None:
    """A server that registers another file, name or budget; files that are none, or not the call's."""
    truth = registration_of(sealed.inspect(archive))
    given = replace(truth, name="cohort-D", dataset=dataset_id(C, "cohort-D"))
    asked = change(url, lab, what="register", registration=told(given), epsilon="9")
    ledger = interface("Ledger")

    def call(name: str = "cohort-D", epsilon: int = 9_000_000, **other: Any) -> dict[str, str]:
        version = replace(given.version, **other)
        return {"data-data": to_hex(ledger.encode("register", name, version.solidity(), epsilon, 0))}

    for lie, says in (
        (call(header=b"\x55" * 32), "the sealed header differs"),
        (call(index=b"\x55" * 32), "the sealed index differs"),
        (call(key_commitment=b"\x55" * 32), "the key commitment differs"),
        (call(rows=7), "the number of records differs"),
        (call(name="cohort-E"), "the dataset differs"),
        (call(epsilon=90_000_000), "the budget differs"),
        (
            {"data-data": to_hex(ledger.encode("addVersion", given.dataset, given.version.solidity()))},
            "another change",
        ),
        ({">9</td>": ">0.9</td>"}, "“ε for life” as 0.9"),
    ):
        refused(browser, lab, asked, C, lie, says)
    refused(browser, lab, asked, B, {}, "your wallet does not offer it")

    raw = bytearray(archive.read_bytes())
    where = raw.index(b'"keyCommitment":"0x') + 20
    raw[where] = ord("1") if raw[where] == ord("0") else ord("0")  # another digit, and still a digit
    broken = {"altered": bytes(raw), "cut": bytes(raw[:2000]), "other": b"{}" * 900}
    with opened(browser) as page:
        page.goto(asked)
        drop(page, archive)
        expect(page.locator("[data-sealed-said]")).to_contain_text("the dataset differs")
        expect(page.locator("[data-why]")).to_contain_text("the file is not what this call registers")
        page.locator("[data-check]").click()  # which does not make it the right file
        expect(page.locator("[data-problem]")).to_contain_text("is not what this call registers")
        expect(page.locator("[data-send]")).to_be_disabled()
        page.goto(change(url, lab))
        for name, content in broken.items():
            file = tmp_path / f"{name}.tar"
            file.write_bytes(content)
            drop(page, file)
            said = page.locator("[data-sealed-said]")
            if name == "altered":
                expect(said).to_contain_text("Computed")
                computed = json.loads(page.locator("textarea[name=registration]").input_value())
                assert computed["version"]["index"] != to_hex(truth.version.index)
            else:
                expect(said).to_contain_text("This is no sealed file")
        file = tmp_path / "other.registration.json"
        file.write_text(told(truth).replace("cohort-C", "cohort-D"))
        drop(page, file)
        expect(page.locator("[data-sealed-said]")).to_contain_text("its id is not that of its owner and name")


def test_a_file_that_differs_holds_the_call_until_the_right_one_is_dropped(
    browser: Browser, lab: Lab, url: str, archive: Path, tmp_path: Path
) -> None:
    """AR-11: neither a check while a file is read nor one after it differed offers the button; a file that
    fits does, and each file that is dropped afterwards takes the button away until it is checked again."""
    truth = registration_of(sealed.inspect(archive))
    given = replace(truth, name="cohort-F", dataset=dataset_id(C, "cohort-F"))
    right = tmp_path / "cohort-F.registration.json"
    right.write_bytes(registration_file(given))
    with opened(browser) as page:
        wallet = Wallet(lab.chain, C)
        with_wallet(page, wallet)
        page.goto(change(url, lab, what="register", registration=told(given), epsilon="9"))
        check, send, why = (page.locator(f"[data-{one}]") for one in ("check", "send", "why"))
        checked(page)
        page.evaluate(
            """() => {
              const read = Blob.prototype.arrayBuffer;
              const go = new Promise((letGo) => (window.letGo = letGo));
              Blob.prototype.arrayBuffer = async function () { await go; return read.call(this); };
            }"""
        )
        drop(page, archive)
        expect(why).to_contain_text("still being read")
        expect(send).to_be_disabled()
        check.click()
        expect(page.locator("[data-problem]")).to_contain_text("still being read")
        expect(send).to_be_disabled()
        page.evaluate("window.letGo()")
        expect(page.locator("[data-sealed-said]")).to_contain_text("the dataset differs")
        for _ in range(2):
            check.click()
            expect(page.locator("[data-problem]")).to_contain_text("is not what this call registers")
            expect(check).to_be_enabled()
            expect(send).to_be_disabled()
        drop(page, right)
        expect(why).to_contain_text("The file is what this call registers")
        expect(send).to_be_disabled()
        checked(page)
        drop(page, archive)
        expect(page.locator("[data-sealed-said]")).to_contain_text("the dataset differs")
        expect(send).to_be_disabled()
        assert not wallet.methods & SENDING


def marked(archive: Path, target: Path, name: str) -> Path:
    """The sealed file with a byte order mark before one of its members."""
    with tarfile.open(archive) as source, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as made:
        for member in source.getmembers():
            content = source.extractfile(member)
            assert content is not None
            data = b"\xef\xbb\xbf" * (member.name == name) + content.read()
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return target


def test_a_byte_order_mark_is_no_part_of_a_sealed_file(
    browser: Browser, lab: Lab, url: str, archive: Path, tmp_path: Path
) -> None:
    """The command refuses such a file, and so does the page, in words; the same file without one is read."""
    with opened(browser) as page:
        page.goto(change(url, lab))
        said, field = page.locator("[data-sealed-said]"), page.locator("textarea[name=registration]")
        drop(page, marked(archive, tmp_path / "none.tar", "nothing"))
        expect(said).to_contain_text("Computed in this page from the sealed file")
        field.fill("")
        for name in ("header", "index"):
            bad = marked(archive, tmp_path / f"{name}.tar", f"{name}.json")
            with pytest.raises(SealroomError):
                sealed.inspect(bad)
            drop(page, bad)
            expect(said).to_contain_text(
                f"This is no sealed file, and no registration of one: its {name} is not JSON."
            )
            assert field.input_value() == ""


def test_of_two_files_the_last_one_counts_whichever_is_read_first(
    browser: Browser, lab: Lab, url: str, archive: Path, tmp_path: Path
) -> None:
    """AR-11: a file that is slow to read does not take the place of one that was dropped after it."""
    truth = registration_of(sealed.inspect(archive))
    given = replace(truth, name="cohort-G", dataset=dataset_id(C, "cohort-G"))
    beside = tmp_path / "cohort-G.registration.json"
    beside.write_bytes(registration_file(given))
    for first, last, names in ((archive, beside, "cohort-G"), (beside, archive, "cohort-C")):
        with opened(browser) as page:
            page.goto(change(url, lab))
            page.evaluate(
                """() => {
                  const held = [];
                  let under_way = 0;
                  for (const name of ["arrayBuffer", "text"]) {
                    const read = Blob.prototype[name];
                    Blob.prototype[name] = async function () {
                      under_way += 1;
                      try {
                        if (window.slow) await new Promise((go) => held.push(go));
                        return await read.call(this);
                      } finally {
                        under_way -= 1;
                      }
                    };
                  }
                  window.slow = true;
                  // Ends when all is read: what follows from a piece begins the next one in the same turn.
                  window.letGo = async () => {
                    window.slow = false;
                    held.forEach((go) => go());
                    for (let idle = 0; idle < 10; idle = under_way ? 0 : idle + 1) {
                      await new Promise((go) => setTimeout(go));
                    }
                    return held.length;
                  };
                }"""
            )
            drop(page, first)
            page.evaluate("window.slow = false")
            drop(page, last)
            field = page.locator("textarea[name=registration]")
            expect(field).to_have_value(re.compile(f'"name":"{names}"'))
            assert page.evaluate("window.letGo()"), "the first file was not slow"
            assert json.loads(field.input_value())["name"] == names
            expect(page.locator("[data-sealed-said] p")).to_have_count(1)
