# SPDX-License-Identifier: Apache-2.0
"""A whole room on one machine, for one's own study: `sealroom up --local`, and what its owners do there.

* `room`: the folder, and what is in it.
* `contracts`: the contracts' code, and how a local chain gets them.
* `owners`: each owner acts by its own keystore, through the same desk as elsewhere.
* `set_up`: from an empty folder, or from one that an earlier call left, to a room that waits for its owners.
* `joining`: an owner seals and registers its files, and the runner gets what was sealed.
* `steps`: approving.

The chain is local, its accounts are anvil's published ones, and TDX is simulated: nothing here proves
anything to others.
"""
