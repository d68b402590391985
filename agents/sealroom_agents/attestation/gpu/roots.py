# SPDX-License-Identifier: Apache-2.0
"""The roots of GPUs that go with a root of trust: NVIDIA's with Intel's, simulated ones with a simulated one.

A simulated platform vouches for the roots of its GPUs: beside each stands a certificate of the platform's
root for the same name and key. So whoever decided to trust the one root, on a local chain, knows the others,
and under Intel's root nothing that anybody can make is ever taken for NVIDIA's.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from sealroom.codes import Code
from sealroom_agents.attestation.gpu.chain import CERTIFICATE_FAULTS, MAX_CHAIN_BYTES
from sealroom_agents.attestation.gpu.walk import Trust
from sealroom_agents.attestation.trust import TrustRoot
from sealroom_agents.errors import AttestationError

_CERTIFICATES = 4
"""Root of devices, the platform's word on it, root of manifests, the platform's word on it."""


def gpu_trust(trust: TrustRoot, roots: bytes) -> Trust:
    """The roots by which GPUs are judged beside a machine of `trust`.

    roots: PEM of a simulated platform's `gpu/roots.pem`; not looked at under Intel's root. Raises
    `AttestationError` `gpu-chain` where the platform's root vouches for no such roots.
    """
    if trust.root_der is None:
        return Trust()
    try:
        found = x509.load_pem_x509_certificates(roots) if len(roots) <= MAX_CHAIN_BYTES else []
        platform = x509.load_der_x509_certificate(trust.root_der)
        if len(found) != _CERTIFICATES:
            raise ValueError
        for root, word in (found[:2], found[2:]):
            word.verify_directly_issued_by(platform)
            if (word.subject, word.public_key()) != (root.subject, root.public_key()):
                raise ValueError
    except CERTIFICATE_FAULTS as error:
        raise AttestationError(
            Code.GPU_CHAIN, "the simulated platform does not vouch for these roots of GPUs"
        ) from error
    return Trust(devices=found[0].fingerprint(SHA256()), rims=found[2].fingerprint(SHA256()))
