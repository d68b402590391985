"""Kidney function, light chains and death in four cohorts: counts, means and one risk model."""

import pandas as pd

from sealroom import emit_signed, private, unwrap

people = pd.concat([unwrap(f"hospital-{letter}/cohort-{letter}.tar") for letter in "ABCD"])

# One line per new column; each depends on its own row alone, as the privacy guarantee needs.
bands = ["50-59", "60-69", "70-79", "80+"]
people["age_band"] = pd.cut(people.age, [50, 60, 70, 80, 120], right=False, labels=bands)
people["male"] = people.sex == "M"
people["light_chains"] = people.kappa + people.lambda_
people["creatinine_unknown"] = people.creatinine.isna()  # 1 in 6: told to the model, not guessed
people["creatinine_or_1"] = people.creatinine.fillna(1.0)

table = private(people)
counts = table.count("people")
means = table.mean("creatinine")  # of the people who have a value
model = table.logistic("risk_of_death")

emit_signed(counts.summary() | means.summary() | model.summary())
