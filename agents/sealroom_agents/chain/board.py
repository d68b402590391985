# SPDX-License-Identifier: Apache-2.0
"""The factory's list of consortia and its board of studies: for pages, and for finding consortia."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.reads import Reads
from sealroom_agents.chain.rpc import Rpc, RpcFailure
from sealroom_agents.errors import ChainError

BOARD_PAGE = 100
"""Rows of the board read in one call."""


@dataclass(frozen=True)
class BoardRow:
    """One consortium on the board of studies, as the Factory shows it."""

    consortium: str
    """Address."""
    owners: int
    """Number of owners."""
    confirmed: int
    """How many of them did something there with their own account or signature."""
    records: int
    """Sum of the rows, as declared, of the newest versions of what owners offer it."""
    criteria: tuple[int, int, int]
    """≥ 3 owners; more than one jurisdiction; HIPAA/GDPR-grade: each 0 miss, 1 partial, 2 match."""
    status: int
    """0 declared by its creator, until k owners confirmed; 1 forming, 2 live, 3 revoked."""


class BoardReads(Reads):
    """What the factory knows of all consortia."""

    def consortia(self, factory: str) -> list[str]:
        """Addresses of all consortia of a factory, oldest first, at the latest block."""
        return [address.lower() for address in self._latest_call("Factory", factory, "consortia")]

    def listed(self, factory: str, *, first: int, most: int) -> list[str]:
        """Addresses of at most `most` consortia of a factory, from number `first` on; the list only grows."""
        return [str(row["consortium"]).lower() for row in self._board_page(factory, first, most)]

    def board(self, factory: str) -> list[BoardRow]:
        """The board of studies at the latest block, read page by page."""
        rows: list[BoardRow] = []
        count = int(self._latest_call("Factory", factory, "consortiumCount"))
        while len(rows) < count:
            page = self._board_page(factory, len(rows), count - len(rows))
            if not page:
                break
            rows.extend(
                BoardRow(
                    consortium=row["consortium"].lower(),
                    owners=int(row["owners"]),
                    confirmed=int(row["confirmed"]),
                    records=int(row["records"]),
                    criteria=(int(row["criteria"][0]), int(row["criteria"][1]), int(row["criteria"][2])),
                    status=int(row["status"]),
                )
                for row in page
            )
        return rows

    def _board_page(self, factory: str, first: int, most: int) -> Any:
        """Rows of the board from number `first` on: fewer where a node has not the gas for that many, since
        anyone can fill the rows of consortia of its own."""
        contract = interface("Factory")

        def one(rpc: Rpc) -> Any:
            size = min(most, BOARD_PAGE)
            while True:
                call = {"to": factory, "data": "0x" + contract.encode("board", first, size).hex()}
                (answer,) = rpc.batch([("eth_call", [call, "latest"])])
                if not isinstance(answer, RpcFailure):
                    return contract.decode("board", rpc.data(answer))
                if size == 1:
                    raise ChainError(
                        Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} refuses the board: {answer.message}"
                    )
                size = max(1, size // 2)

        return self._nodes.first(one)
