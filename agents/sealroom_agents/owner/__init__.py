# SPDX-License-Identifier: Apache-2.0
"""What an owner's commands do, without the command line.

`source` turns what an owner has into a file that can be sealed, by way of `to_parquet` and `folder`.
`staging` makes three outputs appear together or not at all, `space` looks for room first.
`keystore` reads a signing key, `signing` puts a signature into a sealed file.
`findings` compares a sealed file with card and chain, `remote` carries it by way of `stores` and `web`.
`registration` is what an owner puts on chain, `safe` the same as a file for a Safe.
`consortium_contract` alone asks the chain.
"""
