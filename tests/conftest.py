# SPDX-License-Identifier: Apache-2.0
"""Which files are run first, so that no worker is left with a long one when the others have nothing to do."""

from __future__ import annotations

import gc
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

LONG = (
    "tests/test_local_room.py",
    "tests/test_story.py",
    "tests/packaging/test_readme.py",
    "tests/enclave/test_run.py",
    "tests/agents/test_cli.py",
    "tests/test_vmm_room.py",
    "tests/test_phala_room.py",
    "tests/test_gpu_room.py",
    "tests/enclave/test_attacks.py",
    "tests/packaging/test_installed.py",
    "tests/packaging/test_verifier.py",
    "tests/enclave/kinds/test_coverage.py",
    "tests/enclave/kinds/test_kernel.py",
    "tests/agents/test_restart.py",
    "tests/agents/test_room_join.py",
    "tests/agents/test_upload_s3.py",
    "tests/agents/test_fetch_ranges.py",
    "tests/agents/test_browser_lies.py",
    "tests/agents/test_browser_dialogs.py",
    "tests/agents/test_browser_guarantee.py",
    "tests/enclave/test_blocks.py",
    "tests/agents/test_gate_nodes.py",
    "tests/enclave/test_neighbours.py",
    "tests/agents/test_long_history.py",
    "tests/test_docs.py",
    "tests/enclave/test_sandbox.py",
    "tests/agents/test_tables_as_written.py",
    "tests/agents/test_standard_input.py",
    "tests/agents/test_csv_dialects.py",
    "tests/agents/test_tables_bounded.py",
)
"""Files of the longest tests, the longest first."""


settings.register_profile("drawn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("drawn"), derandomize=True)
settings.load_profile("same")
"""The same examples at every run, however slow the machine is. `--hypothesis-profile drawn` draws others, as
`make fuzz` does."""


def pytest_configure() -> None:
    """Heed SIGINT, which a shell lets its jobs in the background ignore: what tests start inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected, over a million objects, stays to the end. Nobody looks for rubbish
    while it comes, nor in it afterwards: one look takes more than a second, and each worker collects all.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.nodeid.partition("::")[0]))


def _rank(path: str) -> int:
    return LONG.index(path) if path in LONG else len(LONG)
