# SPDX-License-Identifier: Apache-2.0
"""What the answers without privacy are: numbers, by where their released ones stand."""

from __future__ import annotations

Key = tuple[str, str, tuple[str, ...]]
"""Where a number is: the members of the value that it is in, as of a panel, and the labels of its row."""
Answers = dict[Key, float]
RELEASED_AUC: Key = ("auc", "released", ())
"""Area under the ROC curve of released coefficients, on the people that the model is of, or of released
weights on the people held out."""
PLAIN_AUC: Key = ("auc", "not private", ())
"""The same of the model without privacy."""
