// SPDX-License-Identifier: Apache-2.0
// The page of a study: what the recipe's bytes say takes the place of what the server drew, and owners act.
import { approve } from "../decide/acts/approve.ts";
import { revoke } from "../decide/acts/revoke.ts";
import { withdraw } from "../decide/acts/withdraw.ts";
import { open } from "../decide/dialog.ts";
import * as Gathered from "../decide/gathered.ts";
import { begin } from "../decide/reading.ts";
import * as Room from "../decide/room.ts";
import { disk } from "../decide/teller.ts";
import * as Without from "../decide/without.ts";

const openers: Readonly<Record<string, () => void>> = {
  approve: () => open(approve()),
  withdraw: () => open(withdraw()),
  revoke: () => open(revoke()),
};

for (const one of document.querySelectorAll<HTMLButtonElement>("button[data-action]")) {
  const opener = openers[one.dataset.action ?? ""];
  if (!opener) continue;
  one.addEventListener("click", opener);
  // Until here the button would have done nothing.
  one.disabled = false;
}
void begin();
void Room.begin();
if (disk) void Without.begin();
// Why the page cannot be read, its reading says.
else Gathered.begin().catch(() => {});
