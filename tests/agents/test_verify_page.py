# SPDX-License-Identifier: Apache-2.0
"""The verify page in a real browser: from disk and offline, as `sealroom verify --page` writes it.

What it says of each file is compared with the command in `tests/face/test_verify_corpus.py`; here is what a
reader sees.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, expect
from tests.agents.browsing import launched, patient
from tests.agents.liars import Truth, tell_the_truth
from tests.agents.test_verification_gpu import GPUS
from tests.agents.worked import render_recipe

from sealroom_agents.cli import main
from sealroom_agents.console.assets import BUILT
from sealroom_agents.console.pages import NAVIGATION
from sealroom_agents.console.verify_page import ASKING, OFFLINE, policy_of
from sealroom_agents.simulator.gpu import encode_evidence

DONE = "#verdict:is([data-tone=hold], [data-tone=stop], [data-tone=wait])"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return tell_the_truth(tmp_path_factory.mktemp("truth"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, as the command writes it."""
    file = tmp_path_factory.mktemp("page") / "verify.html"
    told = CliRunner().invoke(main, ["verify", "--page", str(file)])
    assert told.exit_code == 0, told.output
    assert hashlib.sha256(file.read_bytes()).hexdigest() in told.output
    return file


class Desk:
    """One auditor with the page from disk, and no network."""

    def __init__(self, page: Page, folder: Path, truth: Truth) -> None:
        assert truth.trust.root_der is not None
        self.page = page
        self._folder = folder
        self._root = folder / "root.der"
        self._root.write_bytes(truth.trust.root_der)

    def expect(self, chain: int, consortium: str) -> None:
        self.page.fill("#chain", str(chain))
        self.page.fill("#consortium", consortium)

    def drop(self, data: bytes, *, first: bool = True) -> str:
        """The verdict's sentence. first: whether the file comes before the root."""
        file = self._folder / "envelope.json"
        file.write_bytes(data)
        self.page.set_input_files("#files", [str(file), str(self._root)][:: 1 if first else -1])
        self.page.wait_for_selector(DONE)
        return self.page.inner_text("#sentence")

    def marks(self) -> list[tuple[str, str]]:
        items = self.page.locator("#links li").all()
        return [(item.get_attribute("data-link") or "", item.get_attribute("class") or "") for item in items]

    def certified(self) -> bool:
        return self.page.locator("#certificate").is_visible()


@pytest.fixture
def desk(browser: Browser, written: Path, truth: Truth, tmp_path: Path) -> Iterator[Desk]:
    context = patient(browser, offline=True)
    page = context.new_page()
    troubles: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda line: troubles.append(line.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(written.as_uri())
    yield Desk(page, tmp_path, truth)
    context.close()
    assert troubles == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def home(truth: Truth) -> tuple[int, str]:
    content = json.loads(truth.envelope.encode())
    statement = json.loads(base64.b64decode(content["statement"]["payload"]))
    text = json.dumps(statement)
    chain, consortium = re.search(r'"chainId": (\d+)', text), re.search(r'"consortium": "(0x\w{40})"', text)
    assert chain and consortium
    return int(chain[1]), consortium[1]


def test_a_certificate_needs_the_consortium_that_the_reader_expects(desk: Desk, truth: Truth) -> None:
    """Without it: no certificate. With it: one, on one page. With another: a broken link."""
    desk.drop(truth.envelope.encode())
    assert not desk.certified()
    desk.page.reload()
    chain, consortium = home(truth)
    desk.expect(chain, consortium)
    desk.drop(truth.envelope.encode())
    assert desk.certified()
    assert {mark for name, mark in desk.marks() if name in ("quote", "gate-quote")} == {"simulated"}
    assert "simulated" in desk.page.inner_text("#fraction")
    printed = desk.page.pdf(format="A4", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    desk.page.reload()
    desk.expect(chain, "0x" + "77" * 20)
    desk.drop(truth.envelope.encode())
    assert not desk.certified()
    assert ("pinned-consortium", "broken") in desk.marks()


def test_files_are_taken_in_any_order(desk: Desk, truth: Truth) -> None:
    """Envelope and root together: which is which, their content says."""
    desk.drop(truth.envelope.encode())
    expected = desk.marks()
    desk.page.reload()
    desk.drop(truth.envelope.encode(), first=False)
    assert desk.marks() == expected and "simulated" in desk.page.inner_text("#fraction")


def test_a_byte_order_mark_before_an_envelope_is_refused_in_words(desk: Desk, truth: Truth) -> None:
    """As by the command: JSON begins without one."""
    desk.drop(b"\xef\xbb\xbf" + truth.envelope.encode())
    assert desk.page.locator("#verdict").get_attribute("data-tone") == "stop"
    assert not desk.certified()


def test_nothing_behind_a_broken_link_is_shown_as_checked(desk: Desk, truth: Truth) -> None:
    desk.expect(*home(truth))
    content = json.loads(truth.envelope.encode())
    content["grantSignature"] = "0x" + "11" * 64 + "1b"
    broken = json.dumps(content).encode()
    desk.drop(broken)
    marks = [mark for _, mark in desk.marks()]
    at = marks.index("broken")
    assert desk.marks()[at][0] == "grant"
    assert set(marks[at + 1 :]) == {"never"}
    assert not desk.certified()


def test_a_run_with_gpus_is_left_to_the_command(desk: Desk, truth: Truth, tmp_path: Path) -> None:
    """GP-01: neither proven nor broken, in words, and without a certificate."""
    recipe, gpus = render_recipe(tmp_path / "gpus", study=GPUS), truth.platform.machine_gpus(1)
    run = replace(truth, recipe=recipe).ran(gpu_evidence=lambda nonce: encode_evidence(gpus, nonce))
    desk.expect(*home(truth))
    said = desk.drop(run.envelope().encode())
    assert said.startswith("Not decided.") and "sealroom verify FILE decides" in said
    expect(desk.page.locator("#verdict")).to_have_attribute("data-tone", "wait")
    expect(desk.page.locator("#fraction")).to_contain_text("gpu-evidence-unwalked")
    expect(desk.page.locator("#links .broken")).to_have_count(0)
    assert not desk.certified()


@pytest.mark.parametrize(
    "junk",
    [b"", b"{}", b"[" * 100_000, b" " * (21 * 1024 * 1024)],
    ids=["empty", "no envelope", "deep", "large"],
)
def test_junk_is_refused_by_name(desk: Desk, junk: bytes) -> None:
    desk.drop(junk)
    assert desk.page.locator("#verdict").get_attribute("data-tone") != "hold"
    assert not desk.certified()
    assert {mark for _, mark in desk.marks()} <= {"never", "waits"}


def test_the_policy_names_the_hashes_of_what_stands_in_the_page() -> None:
    for name in (OFFLINE, ASKING):
        page = (BUILT / name).read_text(encoding="utf-8")
        policy = policy_of(page)
        for tag in ("script", "style"):
            parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
            assert len(parts) == 1
            digest = base64.b64encode(hashlib.sha256(parts[0].encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
        assert "default-src 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert ("connect-src 'none'" in policy) == (name == OFFLINE)
        assert "[" not in policy, "no policy can say an IPv6 address"


def test_only_the_served_page_has_the_menu_of_the_others() -> None:
    served, disk = ((BUILT / name).read_text(encoding="utf-8") for name in (ASKING, OFFLINE))
    assert all(f'<a href="{address}"' in served for _, _, address in NAVIGATION)
    assert all(f">{label}</a>" in served for _, label, _ in NAVIGATION)
    assert "<nav" not in disk and 'href="/' not in disk
