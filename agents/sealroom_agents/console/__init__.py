# SPDX-License-Identifier: Apache-2.0
"""The console: REST interface and web pages. It holds no key; an owner's own wallet signs."""

from sealroom_agents.console.app import create_app

__all__ = ["create_app"]
