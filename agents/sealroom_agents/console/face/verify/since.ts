// SPDX-License-Identifier: Apache-2.0
// What happened since a receipt was anchored, in words: what was done before stays done. Twin of
// `sealroom_agents.verification.since`.
import { timeText } from "./of_run.ts";
import type { Hex } from "../base/bytes.ts";
import type { Findings, Said, Step } from "./state.ts";
import { asked } from "./state.ts";

/** Age of the newest block that a node shows, seconds, beyond which it does not know what happened since (CH-04). */
const MAX_BEHIND_S = 3600n;
const REVOCATION = "revocation";

const told = (said: Said, owners: ReadonlyMap<Hex, string>, reason: string): string => {
  const words: string[] = [];
  if (said.revokedAt) words.push(`its study was revoked on ${timeText(said.revokedAt)} by ${owners.get(said.revokedBy) ?? said.revokedBy}${reason ? `: ${reason}` : ""}`);
  if (said.superseded) words.push("another roster or platform governs now, which says nothing against it");
  if (said.stoppedSince && !said.revokedAt) words.push("an owner revoked since, when its study was over");
  return words.join("; ") || "nobody has revoked since, and the same roster and platform govern";
};

const behind = (found: Findings): boolean => found.now - found.of("newest") > MAX_BEHIND_S;

export const SINCE: Step = {
  name: REVOCATION,
  checks: [
    asked("chain.newest", async (found, chain) => {
      found.put("newest", await chain.newestTime());
      const { consortium, study } = found.envelope.statement;
      found.put("reason", found.of("said").revokedAt ? await chain.reasonOf(consortium, study) : "");
    }),
  ],
  tell: (found) => {
    const words = told(found.of("said"), found.of("owners"), found.of("reason"));
    return behind(found) ? `${words}; as of ${timeText(found.of("newest"))}: the nodes show no newer block, so what came after is not known` : words;
  },
  unsaid: (found) => (behind(found) ? [REVOCATION] : []),
};
