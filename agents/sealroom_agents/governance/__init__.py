# SPDX-License-Identifier: Apache-2.0
"""The governance desk: what owners of a consortium see, decide, sign and stop.

`Node` reads the chain, `Standing` says where a consortium is, `proposals` what is open and what happened,
`ways` how an act of an owner leaves: as a transaction, as a file for a Safe, as call data, as something to be
signed elsewhere, or as signatures that were collected. `Desk` puts them together for the actions, which are
in `stopping`, `seeing`, `deciding`, `seats`, `datasets`, `app` and `signing`. `actions` says how each is
called, and `face` makes commands of them. `command` is the face of `sealroom govern`, and the Ape script
of the same name is another one on the same actions.
"""
