# SPDX-License-Identifier: Apache-2.0
"""docs/licences.md lists what is installed here."""

from __future__ import annotations

import subprocess
import sys

from tests.packaging.conftest import ROOT


def test_the_page_has_the_licence_of_every_installed_package() -> None:
    command = [sys.executable, str(ROOT / ".ci" / "licences"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
