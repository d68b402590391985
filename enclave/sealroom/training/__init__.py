# SPDX-License-Identifier: Apache-2.0
"""Small networks by exact arithmetic: their training, and what a trained one says of rows.

`graph` reads the layers that a recipe lists, `grids` says on which steps numbers lie, `rows` and `table` hold
inputs, `forward` computes what a network says of each row, `exact` computes bounded integer sums of gradients
and of evaluations, `initial` and `optimiser` make and move weights. Nothing here draws noise, and no code of
a researcher runs here.
"""
