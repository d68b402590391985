import pandas as pd

from sealroom import emit_signed, private, unwrap

stays = pd.concat([unwrap("hospital-A/stays.tar"), unwrap("hospital-B/stays.tar")])
# One row a person, made of that person's rows alone: this line is what owners read.
people = stays.groupby("patient", as_index=False).agg({"sex": "first", "days": "mean"})
table = private(people)

emit_signed(table.count("patients").summary() | table.mean("days").summary())
