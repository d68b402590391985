# SPDX-License-Identifier: Apache-2.0
"""Collateral of a PCCS over real HTTP: kept while valid, never longer, never older (AT-07 to AT-09)."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.agents.test_attestation import REAL_NOW, VECTORS, needs_vectors
from tests.gate_world import Clock
from tests.patience import PATIENCE_S
from tests.pccs_server import PccsServer, serving

from sealroom.codes import Code
from sealroom_agents.attestation import INTEL, Pccs, PccsCollateral, good_until, verify_quote
from sealroom_agents.attestation.collateral import PAUSE_S, REFRESH_S, UNUSED_S
from sealroom_agents.attestation.collateral_check import kind_of, standing
from sealroom_agents.errors import AttestationError, ConfigurationError
from sealroom_agents.simulator import SimulatedEnclave, SimulatedPlatform, TcbState

NOW = 1_780_000_000
LIFE_S = 10 * 86_400
MARGIN_S = 30
PLATFORM = SimulatedPlatform(b"\x51" * 32)
STRANGER = SimulatedPlatform(b"\x52" * 32)
QUOTE = SimulatedEnclave(PLATFORM, b"{}", bytes(20)).quote(bytes(64))
FOUR = 4
"""Requests for one collateral."""


@dataclass
class Kept:
    """A source beside the service that it asks."""

    pccs: PccsServer
    folder: Path
    clock: Clock
    source: PccsCollateral

    def restart(self) -> None:
        self.source = source(self.pccs, self.folder, self.clock)

    def serve(self, *, state: TcbState | None = None, now: int | None = None) -> dict[str, str]:
        """Have the service serve new collateral."""
        self.pccs.collateral = PLATFORM.collateral(now or self.clock(), lifetime_s=LIFE_S, state=state)
        return self.pccs.collateral

    def fetch(self) -> dict[str, str]:
        return self.source.fetch(QUOTE)

    def refused(self) -> AttestationError:
        with pytest.raises(AttestationError) as error:
            self.fetch()
        assert error.value.code == Code.COLLATERAL_UNAVAILABLE
        assert error.value.code.transient
        assert error.value.code.http == 503
        return error.value


def source(pccs: PccsServer, folder: Path, clock: Clock, *, timeout_s: float = PATIENCE_S) -> PccsCollateral:
    asked = Pccs(pccs.url + "/sgx/certification/v4/", timeout_s=timeout_s)
    return PccsCollateral(asked, trust=PLATFORM.trust(), folder=folder, clock=clock, margin_s=MARGIN_S)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with serving(PLATFORM.collateral(NOW, lifetime_s=LIFE_S)) as pccs:
        clock = Clock(NOW)
        yield Kept(pccs, tmp_path / "c", clock, source(pccs, tmp_path / "c", clock))


def test_a_quote_verifies_with_what_the_service_gave_and_it_is_asked_once(kept: Kept) -> None:
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: kept.fetch(), range(8)))

    assert verify_quote(QUOTE, given[0], trust=PLATFORM.trust(), now=NOW).tcb_status == "UpToDate"
    assert given == [kept.pccs.collateral] * 8
    assert len(kept.pccs.asked) == FOUR
    assert list(kept.source.until().values()) == [good_until(given[0])]


def test_what_is_valid_is_used_while_the_service_is_down_over_a_restart_and_never_longer(kept: Kept) -> None:
    first = kept.fetch()
    end = good_until(first)
    assert end is not None
    kept.pccs.mode = "down"
    kept.restart()

    kept.clock.ahead = end - MARGIN_S - 1 - NOW
    kept.source.refresh()  # it fails, and takes nothing away
    assert kept.fetch() == first
    kept.clock.ahead += 1
    assert "503" in kept.refused().message
    kept.restart()  # not from the disk either
    kept.refused()

    kept.pccs.mode = "honest"
    kept.clock.ahead += PAUSE_S
    assert kept.serve() == kept.fetch() != first


@pytest.mark.parametrize("mode", ["down", "huge", "drip", "gzip", "moved", "nonsense"])
def test_a_service_that_misbehaves_is_a_refusal_for_now(kept: Kept, mode: str) -> None:
    kept.pccs.mode = mode
    kept.source = source(kept.pccs, kept.folder, kept.clock, timeout_s=1 if mode == "drip" else PATIENCE_S)
    kept.refused()
    asked = len(kept.pccs.asked)
    assert all("elsewhere" not in path for path in kept.pccs.asked)

    kept.pccs.mode = "honest"
    kept.refused()  # further quotes ask nothing for a while
    assert len(kept.pccs.asked) == asked
    assert not list(kept.folder.iterdir())
    kept.clock.ahead += PAUSE_S
    kept.source = source(kept.pccs, kept.folder, kept.clock)
    assert kept.fetch() == kept.pccs.collateral


def test_a_service_that_is_not_there_is_a_refusal_for_now(kept: Kept, unused_port: int) -> None:
    kept.pccs.url = f"http://127.0.0.1:{unused_port}"
    kept.restart()
    assert "ConnectError" in kept.refused().message


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def edited(field: str, change: Callable[[str], str]) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda given: {**given, field: change(given[field])}


@pytest.mark.parametrize(
    "lie",
    [
        lambda given: STRANGER.collateral(NOW),
        lambda given: {**given, "pck_crl": STRANGER.collateral(NOW)["pck_crl"]},
        lambda given: {**given, "root_ca_crl": given["pck_crl"]},
        edited("tcb_info", lambda text: text.replace("UpToDate", "Revoked ")),
        edited("tcb_info", lambda text: text.replace("nextUpdate", "nextupdate")),
        edited("qe_identity_signature", lambda text: "00" * 64),
        edited("qe_identity_signature", lambda text: text[::-1]),
        edited("qe_identity_issuer_chain", lambda text: text.split("-----END")[0]),
        edited("pck_crl_issuer_chain", lambda text: ""),
        lambda given: PLATFORM.collateral(NOW - 2 * LIFE_S, lifetime_s=LIFE_S),
        lambda given: PLATFORM.collateral(NOW + 2 * LIFE_S),
        lambda given: PLATFORM.collateral(NOW, state=TcbState(pck_ca_revoked=True)),
    ],
    ids=[
        "of another root", "list of another root", "lists swapped", "edited", "no end", "no signature",
        "another signature", "half a chain", "no chain", "ended", "of the future", "its CA revoked",
    ],
)  # fmt: skip
def test_what_the_root_did_not_sign_is_never_kept(
    kept: Kept, lie: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    """AT-09, AT-14: the twin of the good collateral differs in one part."""
    honest = kept.pccs.collateral
    kept.pccs.collateral = lie(honest)
    kept.refused()
    assert not list(kept.folder.iterdir())

    kept.clock.ahead += PAUSE_S
    kept.pccs.collateral = honest
    assert kept.fetch() == honest


def test_older_collateral_than_was_seen_is_refused_also_after_a_restart_and_its_end(kept: Kept) -> None:
    """AT-07: a cache cannot bring back the verdict of last month."""
    newer = kept.serve(state=TcbState(evaluation=18))
    assert kept.fetch() == newer
    kept.clock.ahead = REFRESH_S
    kept.serve(state=TcbState(evaluation=17))
    kept.source.refresh()
    assert kept.fetch() == newer

    kept.clock.ahead = LIFE_S
    kept.restart()
    kept.serve(state=TcbState(evaluation=17))
    assert "older" in kept.refused().message
    kept.clock.ahead += PAUSE_S
    assert kept.serve(state=TcbState(evaluation=18)) == kept.fetch()


def test_it_is_fetched_ahead_after_a_day(kept: Kept) -> None:
    first = kept.fetch()
    kept.clock.ahead = REFRESH_S - 1
    newer = kept.serve()
    kept.source.refresh()
    assert kept.fetch() == first
    kept.clock.ahead = REFRESH_S
    kept.source.refresh()
    assert kept.fetch() == newer
    assert len(kept.pccs.asked) == 2 * FOUR


def test_what_no_quote_needs_is_dropped_after_a_month(kept: Kept) -> None:
    kept.fetch()
    kept.clock.ahead = UNUSED_S
    kept.source.refresh()
    assert list(kept.folder.iterdir())
    kept.clock.ahead = 2 * UNUSED_S
    kept.source.refresh()
    assert not list(kept.folder.iterdir())


def test_a_quote_whose_certificates_are_not_the_roots_asks_for_nothing(kept: Kept) -> None:
    """AT-32: a stranger makes the gate ask nobody."""
    foreign = SimulatedEnclave(STRANGER, b"{}", bytes(20)).quote(bytes(64))
    for quote in (foreign, QUOTE[:4000], bytes(5000), b""):
        with pytest.raises(AttestationError) as error:
            kept.source.fetch(quote)
        assert error.value.code == Code.QUOTE_INVALID
    assert kept.pccs.asked == []


@pytest.mark.parametrize("harm", [b"", b"[]", b'{"version":9}', b"\xff" * 100])
def test_a_kept_file_that_is_broken_is_fetched_anew(kept: Kept, harm: bytes) -> None:
    kept.fetch()
    [path] = kept.folder.iterdir()
    path.write_bytes(harm)
    kept.restart()
    assert kept.fetch() == kept.pccs.collateral
    assert json.loads(path.read_bytes())["collateral"] == kept.pccs.collateral


def test_a_kept_file_is_believed_no_more_than_the_service(kept: Kept) -> None:
    kept.fetch()
    [path] = kept.folder.iterdir()
    content = json.loads(path.read_bytes())
    content["collateral"]["tcb_info"] = content["collateral"]["tcb_info"].replace("UpToDate", "Up2Date ")
    path.write_text(json.dumps(content))
    kept.restart()
    assert kept.fetch() == kept.pccs.collateral
    assert len(kept.pccs.asked) == 2 * FOUR


def test_an_address_that_is_none_is_refused_at_the_start() -> None:
    for url in ("", "pccs.example", "file:///etc/passwd", "http://"):
        with pytest.raises(ConfigurationError):
            Pccs(url)


def test_standing_names_the_earliest_end() -> None:
    given = PLATFORM.collateral(NOW, lifetime_s=LIFE_S)
    kind = kind_of(QUOTE, trust=PLATFORM.trust(), now=NOW)
    found = standing(given, kind, trust=PLATFORM.trust(), now=NOW)
    assert found.until == good_until(given)
    assert good_until({}) is None
    assert good_until({**given, "pck_crl": "zz"}) is None


@needs_vectors
def test_intels_own_collateral_is_read_and_held_to_intels_root() -> None:
    quote = (VECTORS / "tdx_quote").read_bytes()
    given = json.loads((VECTORS / "tdx_quote_collateral.json").read_bytes())
    kind = kind_of(quote, trust=INTEL, now=REAL_NOW)
    assert str(kind) == "B0C06F000000-platform"

    found = standing(given, kind, trust=INTEL, now=REAL_NOW)
    assert found.until == good_until(given) == 1_752_919_235
    for trust, now in ((INTEL, found.until), (PLATFORM.trust(), REAL_NOW)):
        with pytest.raises(AttestationError):
            standing(given, kind, trust=trust, now=now)
