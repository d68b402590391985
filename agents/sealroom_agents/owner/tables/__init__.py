# SPDX-License-Identifier: Apache-2.0
"""Tables as programs write them, read exactly or refused: CSV, Arrow, Parquet, and folders of the last two.

Of a CSV, `csv_form` finds out what shows, `csv_dialect` is what its owner says, `csv_records` finds the
rows and `csv_cells` makes values of them. `to_parquet` writes any of them as the one form that is sealed.
"""
