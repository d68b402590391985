# SPDX-License-Identifier: Apache-2.0
"""One run of the demo, step by step, beside the same job without an enclave: what the page `/how` shows.

`document` is the file that is shown, `central` the job as a central pipeline, really run over the same plain
files. `sealroom demo --record FILE` writes such a file; `example.json` is one that is shipped, of people who
are made up: `sealroom demo --made-up --record agents/sealroom_agents/walk/example.json`.
"""
