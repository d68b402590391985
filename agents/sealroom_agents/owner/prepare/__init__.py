# SPDX-License-Identifier: Apache-2.0
"""How an owner's input becomes the columns that a study reads, by a small declared file.

`declared` reads the file, `forms` knows what can be read, `steps` and `casts` bring one column to its type,
`run` brings the whole input. `pseudonyms` makes names that owners share of ids that nobody reads.
`kept` is where the file stays with its dataset, `first` writes a first one.
"""
