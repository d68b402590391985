# SPDX-License-Identifier: Apache-2.0
"""What an owner's commands do, without the command line.

`source` turns what an owner has into a file that can be sealed, by way of `tables` and `folder`.
`staging` makes three outputs appear together or not at all, `space` looks for room first.
`keystore` reads a signing key, `signing` puts a signature into a sealed file.
`judge` weighs a sealed file against card and chain, `remote` carries it by way of `stores` and `web`.
`registration` is what an owner puts on chain, `safe` the same as a file for a Safe.
`onchain` alone asks the chain.
"""
