import pandas as pd

from sealroom import emit_signed, private, unwrap

people = pd.concat([unwrap("hospital-A/cohort-A.tar"), unwrap("hospital-B/cohort-B.tar")])
table = private(people)

emit_signed(table.count("people").summary() | table.mean("age").summary() | table.logistic("risk").summary())
