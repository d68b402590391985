# SPDX-License-Identifier: Apache-2.0
"""Certificates as text (PEM, RFC 7468), before dcap-qvl reads them.

dcap-qvl reads past a certificate whose armour is broken, and verifies with those that are left. Such a text
is refused here, so that one reader never sees fewer certificates than another: a browser verifies the same
files.
"""

from __future__ import annotations

import re

from sealroom.codes import Code
from sealroom.encoding import from_base64
from sealroom.errors import FormatError
from sealroom_agents.errors import AttestationError

MAX_CERTIFICATES = 8
"""Most certificates in one text."""
_BEGIN = "-----BEGIN "
_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\r?\n((?:[A-Za-z0-9+/=]+\r?\n)+)-----END CERTIFICATE-----"
)


def require_whole(text: str, what: str) -> None:
    """Refuse a text in which a certificate is no PEM; what stands between certificates is passed over.

    what: whose certificates they are, for people. Raises `AttestationError` `quote-invalid`.
    """
    bodies = _CERTIFICATE.findall(text)
    if len(bodies) != text.count(_BEGIN):
        raise _refused(what, "certificates that are no PEM")
    if not 0 < len(bodies) <= MAX_CERTIFICATES:
        raise _refused(what, f"{len(bodies)} certificates")
    try:
        for body in bodies:
            from_base64(re.sub(r"[\r\n]", "", body))
    except FormatError as error:
        raise _refused(what, "a certificate that is no base64") from error


def _refused(what: str, why: str) -> AttestationError:
    return AttestationError(Code.QUOTE_INVALID, f"{what}: {why}")
