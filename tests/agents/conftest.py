# SPDX-License-Identifier: Apache-2.0
"""A browser, databases, and the gate's world: `world` is proposed, `approved` is approved and final."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.gate_world import GATE_APP, GATE_RECIPE, PLATFORM, World, gate_world
from tests.local_chain import LocalChain
from tests.patience import PATIENCE_S
from tests.postgres import Postgres, missing

from sealroom_agents.chain import nodes
from sealroom_agents.simulator import GuestAgent

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """httpx reads the certificates of all authorities for each client that it makes, 20 ms each time, and the
    guest agent's client makes two. Here all have one context of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx._transports.default, "create_ssl_context", cache(httpx.create_ssl_context))
        yield


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    """A chain of one file's tests."""
    with LocalChain.start() as running:
        yield running


@pytest.fixture(scope="module")
def gate_chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@pytest.fixture(scope="module")
def gate_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The guest agent of the gate's own CVM; it keeps no state."""
    socket = tmp_path_factory.mktemp("gate") / "gate.sock"
    with GuestAgent(PLATFORM, GATE_RECIPE, GATE_APP).serve(socket):
        yield socket


@pytest.fixture
def world(gate_chain: LocalChain, gate_socket: Path, tmp_path: Path) -> Iterator[World]:
    """Owners, gate and datasets are there, the study is proposed, and nobody has approved it yet."""
    with gate_world(gate_chain, socket=gate_socket, state=tmp_path / "state") as world:
        yield world


@pytest.fixture
def approved(world: World) -> World:
    """The same, approved by two of three, and final."""
    world.approve(0, 1)
    return world


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of a worker."""
    if reason := missing():
        pytest.skip(reason)
    with Postgres.start() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sealroom.db'}"
    return request.getfixturevalue("postgres").create()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from tests.agents.browsing import launched

    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page that fails the test when the content security policy or a script complains."""
    from tests.agents.browsing import opened

    with opened(browser) as page:
        yield page


@pytest.fixture(scope="module")
def every_node_is_heard() -> Iterator[None]:
    """No node is passed over because it answers late, as any may on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "GRACE_S", PATIENCE_S)
        yield
