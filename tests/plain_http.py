# SPDX-License-Identifier: Apache-2.0
"""HTTP to servers of tests, which speak no TLS.

A client of httpx reads the certificates of all authorities when it is made, which takes 25 ms; and each
`httpx.get` makes one. None of these calls needs them.
"""

from __future__ import annotations

import ssl

import httpx

from tests.patience import PATIENCE_S


def client() -> httpx.Client:
    """A client for any number of threads. It trusts no authority, and so reaches nothing that speaks TLS."""
    return httpx.Client(timeout=PATIENCE_S, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
