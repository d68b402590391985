# SPDX-License-Identifier: Apache-2.0
"""Tests. A package, because some distributions install a `tests` of their own that would hide this folder."""
