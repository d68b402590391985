# SPDX-License-Identifier: Apache-2.0
"""Errors of everything that is measured, and of everything that owners run.

The tree::

    SealroomError          root: has a stable code, one line for a person, and maybe a hint
    ├── FormatError        bytes that are not one of our formats
    ├── KeyMaterialError   a key, signature or ciphertext that does not do what it must
    ├── RecipeError        a recipe that owners must not approve
    ├── SealError          a sealed dataset that is broken or not addressed to us
    │   ├── HeaderError    found in the archive's frame or in header.json
    │   ├── WrapError      found in wrap.json, or the wrap does not open
    │   ├── SealIndexError found in index.json, or against what the chain registered
    │   └── PartError      found in a part
    ├── KeyReleaseError       a message of the release protocol that is broken or forged
    ├── EnvelopeError      a result envelope that does not hold
    ├── FailureError       a failure file that does not hold, or does not open
    ├── PrivacyError       a release that the privacy policy does not allow
    ├── JobError           the analysis failed, or asked for what it must not have
    ├── HostError          what the host of a confidential VM tells or gives is of no use
    └── GuestError         the guest agent is missing or answers wrongly

A code is a member of the registry `sealroom.codes`: programs compare codes, people read messages. Decoders
raise nothing else.
"""

from __future__ import annotations

from sealroom.codes import Code


class SealroomError(Exception):
    """Root of all errors that this product raises on purpose."""

    def __init__(self, code: Code, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        """Stable word for programs."""
        self.message = message
        """What is wrong, in one line."""
        self.hint = hint
        """What to do about it, or `None`."""

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.code)!r}, {self.message!r})"


class FormatError(SealroomError):
    """Bytes do not have the one encoding that the format accepts."""


class KeyMaterialError(SealroomError):
    """A key is malformed, a signature does not hold, or a ciphertext does not open."""


class RecipeError(SealroomError):
    """A recipe breaks a rule that keeps owners' data safe; the code names the rule."""


class SealError(SealroomError):
    """A sealed dataset is broken, or is not addressed to this recipe, owner or gate."""


class HeaderError(SealError):
    """The archive's frame or its `header.json` is broken."""


class WrapError(SealError):
    """`wrap.json` is broken, or does not open in this context."""


class SealIndexError(SealError):
    """`index.json` is broken, or differs from what was registered."""


class PartError(SealError):
    """A part is truncated, swapped or altered."""


class KeyReleaseError(SealroomError):
    """A message of the release protocol is malformed, forged or out of place."""


class EnvelopeError(SealroomError):
    """A result envelope is malformed, or one of its own links is broken."""


class FailureError(SealroomError):
    """A failure file is malformed or forged, or does not open with this report key."""


class PrivacyError(SealroomError):
    """The privacy policy does not allow this release."""


class JobError(SealroomError):
    """The analysis failed, or asked for what the recipe does not give it."""


class HostError(SealroomError):
    """What the host of a confidential VM tells or gives its enclave is of no use."""


class GuestError(SealroomError):
    """The guest agent cannot be reached, or its answer makes no sense."""
