# SPDX-License-Identifier: Apache-2.0
"""What an owner's commands do, without the command line.

`source` turns what an owner has into a file that can be sealed, by way of `tables`, `prepare` and `folder`;
`prepare` reads `adapters` too. `staging` makes outputs appear together or not at all, `disk_space` looks
for room first. `custody` and `key_file` keep the data key. `keystore` reads a signing key, `signing` puts a
signature into a sealed file. `asked` and `findings` compare with card and chain, `transfer` carries sealed
files. `registration` is what an owner puts on chain, `safe` the same as a file for a Safe.
`consortium_contract` alone asks the chain.
"""
