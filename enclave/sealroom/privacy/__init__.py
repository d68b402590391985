# SPDX-License-Identifier: Apache-2.0
"""Differential privacy as the custodian applies it: integers in, integer noise, one rounding at the end.

Nothing here is callable from the analysis. Every person adds one bounded vector of integers to a sum, noise
falls on the sum, and all else is made of the noisy sum. What one person can change, and so what the noise
must hide, is then a property of integers that tests check without any noise.

==========  ===================================================================================
kind        what a kind of released value is; `kinds` has one module each
parts       the blocks of a person's vector, and the noise that a block gets for its cost
accountant  what all fields cost together, in one closed formula
plan        from shares to costs, when a recipe is rendered
noise       discrete Laplace and discrete Gaussian, each draw checked against its own privacy map
release     the kernel, and one released value a declared field, remembered
people      the table that a field is released from, however it was made
rows        the rows as the analysis handed them over, checked; one a person
shape       the shape of a released value
intervals   95 % intervals
cells       the declared groups, in declared order
clamped     values clamped to declared bounds, beside the people they are of
quanta      from floating point to bounded integers
members     reading what a recipe declares
==========  ===================================================================================
"""
