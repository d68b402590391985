# SPDX-License-Identifier: Apache-2.0
"""Sealed files to and from stores, several parts at a time, each compared with the index on its way.

`sending` and `fetching` are the two ways, `outgoing` and `gathering` their reading of parts. `stores` finds
the store of a URL: `web`, `s3` with `s3_parts`, `places`. `kept` and `notes` are what an interrupted run
leaves for the next, `pace` bounds how long and how often a store is asked.
"""
