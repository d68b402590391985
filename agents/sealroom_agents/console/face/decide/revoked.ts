// SPDX-License-Identifier: Apache-2.0
// What follows a revocation that is on chain. That the console has seen it is the console's word, and looked for in its own time.
import { make } from "../parts/dom.ts";
import { visible } from "../parts/text.ts";
import type { Owner } from "../wallets/node.ts";
import { pause } from "./mined.ts";

const LOOK_EVERY_MS = 2000;
const LOOKS = 60;

export type Look = () => Promise<string | null> | null;

const follow = async (line: HTMLElement, look: Look): Promise<void> => {
  for (let looks = 0; looks < LOOKS; looks += 1) {
    const asked = look();
    if (!asked) return;
    const seen = await asked.catch(() => null);
    if (seen) return void ([line.textContent, line.className] = [seen, "ok"]);
    await pause(LOOK_EVERY_MS);
  }
  line.textContent = "This console has not told that it has seen it. What stops runs are gate and watcher, which read the chain themselves.";
};

/** What is said at once; `look` asks the console, or answers null where nobody waits any more; a page from disk has none. */
export const revoked = (owner: Owner, block: bigint, look: Look | null): readonly HTMLElement[] => {
  const line = make("li", "", look ? "Waiting until this console has seen it too…" : "What stops runs are gate and watcher, which read the chain themselves.");
  if (look) void follow(line, look);
  const mined = make("li", "ok", "In block " + String(block) + ": the receipt of your own transaction says that " + visible(owner.id) + " revoked.");
  return [make("p", "sentence", make("strong", "", "Revoked."), " No key is released for any study of this consortium."), make("ul", "checks", mined, line)];
};
