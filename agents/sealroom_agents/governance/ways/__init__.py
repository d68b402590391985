# SPDX-License-Identifier: Apache-2.0
"""How an act of an owner leaves the desk.

* sent: a transaction of the account that was named (`sending`);
* `--safe FILE`: a file for the transaction builder of the Safe that the owner is (`safe_file`);
* `--calldata`: the bare call, for any other wallet (`leaving`);
* `--request FILE`: EIP-712 typed data, to be signed elsewhere; `--sign FILE` signs it here (`asking`);
* `--signatures FILE …`: signatures that were collected are handed in; the account only pays (`handing_in`).

Before anything leaves, the call is tried at the block that was read, from the account that will make it: a
refusal costs nothing, and comes in words.
"""
