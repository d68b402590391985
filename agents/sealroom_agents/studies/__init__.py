# SPDX-License-Identifier: Apache-2.0
"""A study before it is proposed: written from a template, checked, run on made-up data, explained, compared.

Nothing here holds a key or asks a chain, and no real data is read unless a person names a file of it.
"""
