# SPDX-License-Identifier: Apache-2.0
"""The decision room as one signed file from disk.

`matter` is what such a file is made of, `reading` takes it from nodes, `page` makes the file of it, and
`checking` says of one that came by mail who made it and whether it is what this release makes of its matter.
"""
