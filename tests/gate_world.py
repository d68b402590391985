# SPDX-License-Identifier: Apache-2.0
"""A gate with everything around it that is real: chain, contracts, quotes,
wraps. Only the hardware is simulated.

`World` is one consortium whose owners adopted one gate, sealed two datasets and proposed a recipe. `Enclave`
plays the enclave's side of the release protocol step by step, and lets a test change whatever it hands in.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.gpu_demand import GpuDemand
from sealroom.gpu_rules import GpuRules
from sealroom.key_release import (
    Challenge,
    DatasetOffer,
    EvidenceMessage,
    GateIdentity,
    GrantReply,
    Hello,
    LeaseRequest,
    SeenRevocation,
    WatchReport,
    gpu_nonce,
    report_data,
    sign_lease,
    verify_challenge,
)
from sealroom.keys import KemPrivateKey, KeyInterface, Secret, address_of, generate_signer
from sealroom.platform_policy import SAFE, PlatformPolicy
from sealroom.sealed import Header, WrapContext, key_commitment, make_wrap
from sealroom_agents.chain import ChainReader, FollowedChain, Transactor
from sealroom_agents.chain.fees import GWEI
from sealroom_agents.chain.follower import Follower
from sealroom_agents.chain.picture import MAX_AGE_S
from sealroom_agents.errors import AttestationError
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.door import Door
from sealroom_agents.gate.gpus import GpuJudge
from sealroom_agents.gate.http import create_app
from sealroom_agents.gate.root import GateRoot
from sealroom_agents.gate.service import Gate, GateConfig
from sealroom_agents.gate.sessions import Sessions
from sealroom_agents.gate.webhook import BootAuthority
from sealroom_agents.guest_socket import connect_guest
from sealroom_agents.simulator import (
    SIMULATED_OS_IMAGE,
    SimulatedEnclave,
    SimulatedPlatform,
)
from tests.local_chain import Dataset, LocalChain, Room, account
from tests.patience import PATIENCE_S
from tests.refusals import REFUSAL_CODES

TOKEN = "t" * 40
MAX_FEE_WEI = 500 * GWEI
RECIPE = b'{"docker_compose_file":"services: {}","name":"cardio-renal"}'
SEED = b"\x07" * 32
PLATFORM = SimulatedPlatform(SEED)
GATE_APP = b"\x6a" * 20
GATE_RECIPE = b'{"name":"sealroom-gate"}'
GPU_RULES = GpuRules(
    architectures=("HOPPER",),
    min_driver="570.172.08",
    min_vbios="96.00.9f.00.01",
    state="fully-matched",
    protected_pcie=False,
    ocsp_seconds=86_400,
    rim_seconds=2_592_000,
)
"""Rules that the simulated platform's GPUs keep."""
OWNERS = ("hospital-A", "hospital-B", "hospital-C")
DAY_S, QUARTER_S = 24 * 3600, 15 * 60


class AppClient:
    """An HTTP client that talks to an application in this process."""

    def __init__(self, app: Door, *, before: Callable[[], None] = lambda: None) -> None:
        """`before`: called before each POST."""
        self._before = before
        self._portal_context = start_blocking_portal()
        self._portal = self._portal_context.__enter__()
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gate")

    def get(self, path: str) -> httpx.Response:
        return self._portal.call(partial(self._client.get, path))

    def post(self, path: str, **options: Any) -> httpx.Response:
        self._before()
        return self._portal.call(partial(self._client.post, path, **options))

    def close(self) -> None:
        self._portal.call(self._client.aclose)
        self._portal_context.__exit__(None, None, None)


@dataclass
class Clock:
    """The gate's clock: it stands still, however long the test takes, except where a test sets it."""

    at: int
    ahead: int = 0

    def __call__(self) -> int:
        return self.at + self.ahead


@dataclass
class MemoryCollateral:
    """A collateral source without files."""

    platform: SimulatedPlatform
    clock: Clock
    asked: list[bytes] = field(default_factory=list)
    """Quotes for which it was asked."""
    out: bool = False
    """Whether it has none at the moment."""

    def fetch(self, quote: bytes) -> dict[str, Any]:
        self.asked.append(quote)
        if self.out:
            raise AttestationError(Code.COLLATERAL_UNAVAILABLE, "the PCCS is silent")
        return dict(self.platform.collateral(self.clock()))


@dataclass
class Sealed:
    """One dataset as its owner sealed it: header, key, what is registered."""

    header: Header
    key: Secret
    owner: int

    @property
    def id(self) -> bytes:
        return self.header.dataset_id

    @property
    def commitment(self) -> bytes:
        return key_commitment(self.key, header_digest=self.header.digest)

    def registered(self) -> Dataset:
        return Dataset(
            owner=self.owner,
            header=self.header.digest,
            key_commitment=self.commitment,
            name=self.header.dataset,
        )


@dataclass
class World:
    """One consortium, one gate, two sealed datasets; the study is proposed but not approved."""

    chain: LocalChain
    platform: SimulatedPlatform
    state: Path
    socket: Path
    room: Room = field(init=False)
    study: bytes = field(init=False)
    sealed: list[Sealed] = field(init=False)
    clock: Clock = field(init=False)
    policy: PlatformPolicy = field(default_factory=PLATFORM.policy)
    gpu_material: Path = field(init=False)
    """What the gate judges GPUs by, where its policy has rules for them."""
    rpc_urls: list[str] = field(default_factory=list)
    rpc_quorum: int | None = None
    reader: ChainReader = field(init=False)
    follower: Follower = field(init=False)
    outlasted_s: float = 0.0
    http: AppClient | httpx.Client = field(init=False)
    gate: Gate = field(init=False)
    collateral: MemoryCollateral = field(init=False)
    closers: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chain.keep_real_time()
        self.chain.keep_own_time()
        self.clock = Clock(self.chain.head_time())
        self.gpu_material = self.state.with_name("gpu")

    def start_gate(self, *, keys: KeyInterface = KeyInterface.V0, **config: Any) -> None:
        """A gate process' inside; again to restart it on the same state."""
        self.stop_gate()
        client = connect_guest(chain_id=31337, environment={}, guest_agent=self.socket)
        collateral = self.collateral = MemoryCollateral(self.platform, self.clock)
        trust = self.platform.trust()
        root = GateRoot(
            client, chain_id=31337, trust=trust, collateral=collateral, policy=self.policy,
            clock=self.clock, keys=keys,
        )  # fmt: skip
        sessions = Sessions.open(self.state)
        audit = AuditLog(self.state / "audit.jsonl", sessions, clock=self.clock)
        floor = sessions.highest("finalized")
        reader = self.reader = self.chain.reader(
            *self.rpc_urls, quorum=self.rpc_quorum, finalized_floor=floor
        )
        self.follower = reader.follow(
            safe=self.policy.emit == SAFE, clock=lambda: time.monotonic() + self.outlasted_s
        )
        chain = FollowedChain(reader, self.follower)
        self.gate = Gate(
            config=GateConfig(chain_id=31337, **config),
            root=root,
            chain=chain,
            sender=Transactor(self.chain.url, root.signer_key.reveal(), max_fee_wei=MAX_FEE_WEI),
            trust=trust,
            collateral=collateral,
            sessions=sessions,
            audit=audit,
            clock=self.clock,
            gpus=None
            if self.policy.gpu is None
            else GpuJudge.open(self.policy.gpu, self.gpu_material, trust=trust),
        )
        self.closers += [reader.close, chain.close, sessions.close, audit.close, self.gate.close]
        self.gate.require_adopted_policy()
        self.gate.started()
        app = create_app(self.gate, BootAuthority(reader, chain_id=31337), watch_token=TOKEN)
        self.http = AppClient(app, before=self.caught_up)
        self.closers += [self.http.close]
        self.heartbeat()

    def caught_up(self) -> None:
        """What the gate has in memory is what its nodes show now, also those that lie."""
        self.follower.refresh(PATIENCE_S, every=True)

    def early_in_the_day(self) -> None:
        """So early that the ledger's day, with which budgets of a day begin anew, lasts for the test."""
        left = DAY_S - self.chain.head_time() % DAY_S
        if left < QUARTER_S:
            self.chain.advance(left)
            self.clock.at = self.chain.head_time()
            self.heartbeat()

    def outlast(self) -> None:
        """Let so much time pass that what the gate has in memory counts no more."""
        self.outlasted_s += MAX_AGE_S + 1

    def stop_gate(self) -> None:
        """Close everything that the gate holds."""
        for close in reversed(self.closers):
            close()
        self.closers = []

    def open_room(self) -> None:
        """The owners adopt the gate, register what they sealed, and propose the recipe."""
        identity = self.identity()
        self.chain.fund(identity.signer)
        self.room = self.chain.create_consortium(OWNERS, threshold=2)
        self.adopt()
        self.sealed = sorted((self.seal(0), self.seal(1)), key=lambda one: one.id)
        for one in self.sealed:
            self.chain.register(self.room, one.registered(), cap_micro=4_500_000)
            self.allow(one, cap_micro=1_500_000)
        self.study = self.chain.draft(
            self.room, compose_hash=sha256(RECIPE), datasets=[one.id for one in self.sealed]
        )

    def adopt(self, **changes: Any) -> None:
        """The owners adopt this gate, or one that differs from it by `changes`."""
        identity = self.identity()
        platform: dict[str, Any] = {
            "gate_root": identity.gate_root,
            "gate_signer": identity.signer,
            "gate_compose": identity.compose_hash,
            "policy_hash": identity.policy_hash,
            "os_images": [SIMULATED_OS_IMAGE],
            "devices": [self.platform.machine().device_id],
        }
        self.chain.adopt_platform(self.room, **{**platform, **changes})

    def judge_gpus(self, rules: GpuRules = GPU_RULES) -> None:
        """The owners have the gate judge GPUs."""
        self.judge_by()
        self.judge_under(gpu=rules)

    def judge_under(self, **changes: Any) -> None:
        """The owners adopt the gate anew, with another platform policy, and pin their study again."""
        self.policy = replace(self.policy, **changes)
        self.start_gate()
        self.adopt()
        self.study = self.chain.draft(
            self.room, compose_hash=sha256(RECIPE), datasets=[one.id for one in self.sealed]
        )
        self.approve(0, 1)
        self.heartbeat()

    def judge_by(self, **changes: Any) -> None:
        """What an operator fetched now; `changes` are those of answers about certificates."""
        for name in ("rims", "ocsp"):
            (self.gpu_material / name).mkdir(parents=True, exist_ok=True)
        (self.gpu_material / "roots.pem").write_bytes(self.platform.gpu_roots())
        now = self.clock()
        for name, manifest in self.platform.gpus.manifests().items():
            path = self.gpu_material / "rims" / f"{name}.xml"
            path.write_bytes(manifest)
            os.utime(path, (now, now))
        for number, answer in enumerate(
            self.platform.gpus.answers(self.platform.machine_gpus(2), now, **changes)
        ):
            (self.gpu_material / "ocsp" / f"{number}.der").write_bytes(answer)

    def allow(self, sealed: Sealed, **limits: Any) -> None:
        """The holder of a dataset says what the room may spend on it."""
        self.chain.allow(self.room, sealed.registered(), **limits)

    def seal(self, owner: int) -> Sealed:
        header = Header(
            owner=account(owner),
            dataset_version=1,
            dataset=f"cohort-{'ABC'[owner]}",
            media_type="application/octet-stream",
            columns=None,
            rows=None,
            size=1,
            part_size=1 << 20,
            salt=secrets.token_bytes(32),
        )
        return Sealed(header=header, key=Secret.generate(32), owner=owner)

    def approve(self, *owners: int) -> None:
        """Approve, and wait until it is final."""
        self.chain.approve(self.room, self.study, *owners)
        self.chain.finalize()

    def identity(self) -> GateIdentity:
        return GateIdentity.parse(self.http.get("/v1/gate").content)

    def context(self, **changes: Any) -> WrapContext:
        """For what owners wrap, as their study card tells them."""
        identity = self.identity()
        fields: dict[str, Any] = {
            "chain_id": 31337,
            "consortium": self.room.consortium,
            "kms_root": identity.kms_root,
            "gate_public_key": identity.root_public_key,
            "app": self.room.app,
            "compose_hash": sha256(RECIPE),
        }
        return WrapContext(**{**fields, **changes})

    def offer(self, sealed: Sealed, **changes: Any) -> DatasetOffer:
        wrap = make_wrap(sealed.key, header=sealed.header, recipient=self.context(**changes))
        return DatasetOffer(header=sealed.header.encode(), wrap=wrap.encode())

    def heartbeat(self, *, revoked: tuple[str, ...] = (), block: int | None = None) -> httpx.Response:
        """What the watcher posts."""
        number = self.chain.block_number() if block is None else block
        report = WatchReport(
            observed=self.clock(),
            seen=(self.room.consortium,) if hasattr(self, "room") else (),
            revoked=tuple(
                SeenRevocation(consortium=one, block=number, block_hash=bytes(32)) for one in revoked
            ),
        )
        return self.http.post(
            "/v1/watch", content=report.encode(), headers={"authorization": f"Bearer {TOKEN}"}
        )


@dataclass
class Enclave:
    """The enclave's side, step by step; a test changes what it hands in."""

    world: World
    recipe: bytes = RECIPE
    epsilon_micro: int = 1_500_000
    delta_pico: int = 400_000
    guarantee: str = "by-reading"
    demand: GpuDemand | None = None
    """The GPUs that its recipe demands."""
    options: dict[str, Any] = field(default_factory=dict)
    platform: SimulatedPlatform | None = None
    kem: KemPrivateKey = field(default_factory=KemPrivateKey.generate)
    signer: Secret = field(default_factory=generate_signer)
    run_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def address(self) -> str:
        return address_of(self.signer.reveal())

    @property
    def machine(self) -> SimulatedEnclave:
        app = bytes.fromhex(self.world.room.app[2:])
        return SimulatedEnclave(self.platform or self.world.platform, self.recipe, app, **self.options)

    def hello(self) -> tuple[bytes, Challenge]:
        """Say hello; returns T0 and the verified challenge."""
        hello = Hello(
            run_id=self.run_id,
            chain_id=31337,
            consortium=self.world.room.consortium,
            compose_hash=sha256(self.recipe),
            epsilon_micro=self.epsilon_micro,
            delta_pico=self.delta_pico,
            guarantee=self.guarantee,
            gpu=self.demand,
        )
        answer = self.world.http.post("/v1/hello", content=hello.encode())
        assert answer.status_code == 200, answer.text
        challenge = Challenge.parse(answer.content)
        return verify_challenge(hello, challenge, signer=self.world.identity().signer), challenge

    def gpu_nonce(self, transcript: bytes) -> bytes:
        """What its GPUs sign."""
        return gpu_nonce(transcript, kem_key=self.kem.public, signer=self.address)

    def evidence(
        self,
        transcript: bytes,
        challenge: Challenge,
        *,
        offers: list[DatasetOffer] | None = None,
        quote: dict[str, Any] | None = None,
        gpus: bytes | None = None,
        **changes: Any,
    ) -> EvidenceMessage:
        """Honest evidence; `quote` are options of the machine, `gpus` is other GPU evidence, which the quote
        binds, and `changes` replace fields afterwards."""
        if gpus is None:
            nonce = self.gpu_nonce(transcript)
            gpus = b"" if self.demand is None else self.machine.gpu_evidence(nonce)
        data = report_data(transcript, kem_key=self.kem.public, signer=self.address, gpu_evidence=gpus)
        raw, log, _ = self.machine.evidence(data, **(quote or {}))
        message = EvidenceMessage(
            nonce=challenge.nonce,
            kem_key=self.kem.public,
            signer=self.address,
            quote=raw,
            event_log=log,
            gpu_evidence=gpus,
            datasets=tuple(offers or [self.world.offer(one) for one in self.world.sealed]),
        )
        return replace(message, **changes)

    def ask(self, **changes: Any) -> httpx.Response:
        """Hello and evidence."""
        transcript, challenge = self.hello()
        return self.send(self.evidence(transcript, challenge, **changes))

    def send(self, message: EvidenceMessage) -> httpx.Response:
        return self.world.http.post("/v1/evidence", content=message.encode())

    def renewal(self, counter: int) -> LeaseRequest:
        """What the enclave asks when it renews."""
        return sign_lease(
            self.run_id,
            counter,
            chain_id=31337,
            consortium=self.world.room.consortium,
            private_key=self.signer.reveal(),
        )

    def renew(self, counter: int, **changes: Any) -> httpx.Response:
        return self.world.http.post("/v1/lease", content=replace(self.renewal(counter), **changes).encode())


def refused(answer: httpx.Response, code: str, status: int = 403) -> dict[str, Any]:
    body = dict(json.loads(answer.content))
    assert body["code"] == code, body
    assert answer.status_code == status
    assert code in REFUSAL_CODES
    assert "\n" not in body["message"]
    assert "keys" not in body and "ciphertext" not in answer.text
    return body


def granted(answer: httpx.Response) -> GrantReply:
    assert answer.status_code == 200, answer.text
    return GrantReply.parse(answer.content)


@contextmanager
def gate_world(
    chain: LocalChain, *, socket: Path, state: Path, keys: KeyInterface = KeyInterface.V0
) -> Iterator[World]:
    """A room where the study is proposed, and nobody has approved it yet; puts the chain back afterwards."""
    snapshot = chain.snapshot()
    world = World(chain=chain, platform=PLATFORM, state=state, socket=socket)
    world.start_gate(keys=keys)
    world.open_room()
    world.heartbeat()
    try:
        yield world
    finally:
        world.stop_gate()
        chain.restore(snapshot)
