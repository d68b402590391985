# SPDX-License-Identifier: Apache-2.0
"""Training of small networks by exact arithmetic, for the kind of field that releases one.

`graph` reads the layers that a recipe lists, `grids` says on which steps numbers lie, `exact` computes
bounded integer sums of gradients and of evaluations, `initial` and `optimiser` make and move weights.
Nothing here draws noise, and no code of a researcher runs here.
"""
