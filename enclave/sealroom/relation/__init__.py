# SPDX-License-Identifier: Apache-2.0
"""The private relation: SQL that keeps people apart by construction, whoever wrote it.

A researcher's SQL is *compiled*, never filtered. DuckDB's own parser gives a tree (`compiled`), the untrusted
front end reads it (`front`) and can only ask a small trusted calculus for rules (`calculus` with `leaves` and
`pairs`; `functions`, `terms`), which writes fresh SQL. Only that runs (`engine`). A query that is misread
changes the answer, never the guarantee. Spec: `enclave/spec/relation.md`.
"""
