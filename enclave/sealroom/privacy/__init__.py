# SPDX-License-Identifier: Apache-2.0
"""Differential privacy as the custodian applies it: integers in, integer noise, one rounding at the end.

Nothing here is callable from the analysis. The analysis hands over rows; `release.Releases` keeps one row a
person, applies the groups and bounds that the owners approved, adds the noise, books the ε and remembers
what it let out.

========  ==================================================================================
policy    zCDP for a given (ε, δ); the one rounding; release slots
budget    basic composition of (ε, δ), exact
groups    the declared groups, in declared order
rows      the rows as the analysis handed them over, checked; one a person
noise     discrete Laplace and discrete Gaussian, each measurement checked against its own privacy map
counts    people by declared group
means     clamped mean by declared group
logistic  logistic regression by noisy full-batch gradient descent
release   one released value a declared field, remembered
========  ==================================================================================
"""
