# SPDX-License-Identifier: Apache-2.0
"""The owners' platform policy as an operator hands it to a process."""

from __future__ import annotations

from pathlib import Path

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.platform_policy import MAX_POLICY_BYTES, PlatformPolicy
from sealroom_agents.errors import ConfigurationError

PAGE = "enclave/spec/platform-policy.md"
_ANEW = f"{PAGE}, 'From version 4', says what to add; the hash is another one then, which owners adopt"
_MEMBERS = f"{PAGE} has a whole document, and says what each member may be"


def load_policy(path: Path | None) -> PlatformPolicy:
    """The owners' platform policy. Raises `ConfigurationError`: `platform-policy-missing`,
    `platform-policy`."""
    if path is None:
        raise ConfigurationError(
            Code.PLATFORM_POLICY_MISSING,
            "the gate judges machines by the owners' platform policy, and was given none",
            "pass --platform-policy FILE with the document whose hash the owners adopt",
        )
    try:
        with path.open("rb") as stream:
            return PlatformPolicy.parse(stream.read(MAX_POLICY_BYTES + 1))
    except OSError as error:
        raise ConfigurationError(Code.PLATFORM_POLICY, f"cannot read {path}: {error.strerror}") from error
    except FormatError as error:
        other = error.code == Code.UNSUPPORTED_VERSION
        raise ConfigurationError(
            Code.PLATFORM_POLICY, f"{path}: {error.message}", _ANEW if other else _MEMBERS
        ) from error
