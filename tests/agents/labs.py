# SPDX-License-Identifier: Apache-2.0
"""What the tests of the pages start from on a chain, and how it becomes again what it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.local_chain import LocalChain
from tests.outside import Lab


@contextmanager
def afresh(chain: LocalChain, folder: Path) -> Iterator[Lab]:
    """A new consortium whose console has its recipe; the chain forgets it afterwards."""
    snapshot = chain.snapshot()
    made = Lab.on(chain, folder)
    made.store.add_recipe(made.compose_hash, made.recipe.compose)
    yield made
    chain.restore(snapshot)


@contextmanager
def registered(folder: Path) -> Iterator[Lab]:
    """A consortium on a chain of its own, whose datasets are registered."""
    with LocalChain.start() as chain:
        made = Lab.on(chain, folder)
        made.register()
        yield made


@contextmanager
def unchanged(chain: LocalChain) -> Iterator[None]:
    """What is on the chain is afterwards what was there before."""
    snapshot = chain.snapshot()
    chain.mine()  # a console shows no chain whose head is old
    yield
    longest = chain.block_number()
    chain.restore(snapshot)
    # Nobody follows a chain that has become shorter before it is longer again.
    chain.mine(longest - chain.block_number())
