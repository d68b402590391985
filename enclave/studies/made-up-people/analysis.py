# Four people's exact creatinine, each under 600 people that nobody knows: the noise for one person
# would not hide the mean of 600 rows that are all alike.
import pandas as pd

from sealroom import emit_signed, private, unwrap

COPIES = 600

people = unwrap("hospital-A/cohort-A.tar")
four = people[people["creatinine"].notna()].head(4)
made_up = four.loc[four.index.repeat(COPIES)].reset_index(drop=True)
made_up["record"] = [str(1 + number // COPIES) for number in range(len(made_up))]
made_up["person_id"] = range(1_000_000_000, 1_000_000_000 + len(made_up))

counted = private(pd.concat([people, made_up])).count("people")
emit_signed(counted.summary() | private(made_up).mean("creatinine").summary())
