import numpy as np
import pandas as pd

from sealroom import emit_block, unwrap

# The rows of one block of people, of all owners. Anything may be missing, twice, or far away.
stays = pd.concat([unwrap("hospital-A/stays.tar"), unwrap("hospital-B/stays.tar")])
people = stays.groupby("patient").agg({"age": "max", "days": "mean"})
people = people[people["age"].between(18, 110) & people["days"].between(0, 365)].dropna()

slope, _ = np.polyfit(people["age"].astype("float64"), people["days"].astype("float64"), 1)

emit_block({"days_a_decade": 10 * slope})
