// SPDX-License-Identifier: Apache-2.0
// What approvals of a study would bring about: whether it goes live with them, by what the wallet's node says of votes, owners
// and datasets, and what it may do then, by the recipe's bytes.
import * as Draw from "../recipe/draw.ts";
import * as Node from "../wallets/node.ts";
import { held } from "./matched.ts";
import * as Reading from "./reading.ts";
import type { Wanted } from "./reading.ts";

// What the contract asks for: enough owners, among them each whose data is read and each who revoked.
const completes = async ({ consortium, content, study }: Wanted, voters: readonly string[]): Promise<boolean> => {
  const { approved } = await Node.votes(consortium, study);
  const { threshold } = await Node.standing(consortium);
  const holders = (await held(consortium, content)).map(({ dataset }) => dataset.holder);
  const voted = new Set<string>([...approved, ...voters]);
  return voted.size >= threshold && [...holders, ...(await Node.revokers(consortium))].every((account) => voted.has(account));
};

/** What would hold once these owners have approved too; `otherwise` where others are missing still. */
export const effect = async (wanted: Wanted, voters: readonly string[], otherwise: string): Promise<string> => {
  if (!(await completes(wanted, voters))) return otherwise;
  const { recipe } = await Reading.recipe(wanted);
  return "With this the study goes live: " + Draw.budget(wanted.content) + ". " + Draw.askers(recipe) + " A study that is live until then ends. No key is released by this act itself, and no ε is booked before a run.";
};
