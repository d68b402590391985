# SPDX-License-Identifier: Apache-2.0
"""The console: REST interface and web pages. It holds no key; an owner's own wallet signs."""
