# SPDX-License-Identifier: Apache-2.0
"""Whether the chain knows the run of a failure file.

The file is signed by a key that it names itself, and whoever has the public half of a report key can seal a
reason to it. That the key is the one of the run that a gate had let have data keys, the ledger alone says:
its opening of the run names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import FailureError
from sealroom.failure import Failure

if TYPE_CHECKING:
    from sealroom.model import Opening
    from sealroom_agents.chain import ChainReader


def opening_of(failure: Failure, chain: ChainReader) -> Opening:
    """The opening of the failed run: the ledger of the consortium keeps it at a finalized block, and it names
    the file's signer and recipe.

    Raises `FailureError`: `wrong-chain`, `run-not-opened`, `run-mismatch`; `ChainError` where nothing was
    decided.
    """
    run = failure.run
    if chain.chain_id() != run.chain_id:
        raise FailureError(Code.WRONG_CHAIN, f"this is not chain {run.chain_id}")
    view = chain.finalized_view(run.consortium)
    kept = chain.booked(view.ledger, view.consortium, run.run_id, at=view.block_hash)
    if kept is None:
        raise FailureError(
            Code.RUN_NOT_OPENED,
            f"up to block {view.block_number}, the ledger has not opened the run {to_hex(run.run_id)} for "
            f"{view.consortium}",
            "do not believe the file: no enclave of this consortium wrote it",
        )
    opening = chain.opening(view.ledger, view.consortium, run.run_id, kept)
    for what, said, booked in (
        ("enclave key", failure.signer, opening.run.enclave_signer),
        ("recipe", to_hex(run.compose_hash), to_hex(opening.compose_hash)),
    ):
        if said != booked:
            raise FailureError(
                Code.RUN_MISMATCH,
                f"the ledger opened this run for the {what} {booked}, and the file says {said}",
                "do not believe the file: the enclave of this run did not write it",
            )
    return opening
