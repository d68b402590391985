// SPDX-License-Identifier: Apache-2.0
// An owner's own approval of one study.
import type { Hex } from "viem";

import * as Calls from "../../model/calls.ts";
import type { Content } from "../../model/calls.ts";
import { events, functions } from "../../model/model.ts";
import { selectors } from "../../model/readback.ts";
import { epsilonText } from "../../model/units.ts";
import { type Child, code, fact, make, numbered, prose } from "../../parts/dom.ts";
import * as Draw from "../../recipe/draw.ts";
import { machine } from "../../recipe/words.ts";
import { asText, names, place, type Action } from "../actions.ts";
import * as Checks from "../checks.ts";
import * as Drawn from "../drawn.ts";
import { effect } from "../effect.ts";
import * as Reading from "../reading.ts";
import type { Wanted } from "../reading.ts";
import { teller } from "../teller.ts";
import * as Waiting from "../waiting.ts";

/** What has to hold before an approval counts as understood. */
export const checks: Action<Wanted>["checks"] = [
  ["Reading the recipe’s bytes", Checks.bytes],
  ["Asking the wallet for its chain", Checks.chain],
  ["Computing the study id", Checks.study],
  ["Asking the wallet’s node for the proposal", Checks.standing],
  ["Asking the wallet’s node whether it can still be pinned", Checks.open],
  ["Asking the wallet’s node for the owners", Checks.votes],
  ["Asking the wallet’s node for the datasets", Checks.datasets],
  ["Comparing with the " + teller + "’s call", Checks.server],
];

/** What is approved, in words drawn from the recipe's bytes. */
export const summary = async (wanted: Wanted): Promise<readonly Child[]> => {
  const { recipe } = await Reading.recipe(wanted);
  const { relation } = recipe;
  const most = recipe.epsilonMicro * BigInt(wanted.content.maxRuns);
  const facts = [
    fact("Study", recipe.name + ": ", ...prose(recipe.question)),
    fact("Budget", Draw.budget(wanted.content) + "; one run costs ε " + epsilonText(recipe.epsilonMicro) + ", all " + wanted.content.maxRuns + " cost ε " + epsilonText(most)),
    fact("Protects", "each ", code(recipe.unit), " with all its rows; nothing about fewer than " + recipe.minimumCohort),
    fact("Reads", Draw.reads(recipe)),
    fact("Runs", Draw.askers(recipe)),
    ...(recipe.script ? [fact("Machine", machine(recipe))] : []),
    ...(relation ? [fact("Result", Draw.rows(relation.rows) + "; SQL that gives more does not compile")] : []),
    ...(relation && relation.people ? [fact("People", Draw.people(relation.people))] : []),
  ];
  const heading = (text: string): HTMLElement => make("h3", "", text);
  const computes = [heading(relation ? "The researcher’s SQL" : "The script"), numbered(relation ? relation.sql : recipe.analysis, "Source text")];
  const compiled = make("p", "quiet", "What runs is compiled from this SQL by the enclave. You sign for the SQL; what is compiled from it, ", code("sealroom relation app-compose.json"), " shows on a machine of your own.");
  const compare = [heading("Twelve words of this study"), Drawn.words(wanted.study), make("p", "quiet", "On a second machine, ", code("sealroom approval"), " says the same words.")];
  return [...(await Waiting.beside(wanted)), Draw.promise(recipe), make("dl", "facts", ...facts), ...compare, heading("All that may leave"), Draw.leaves(recipe), ...computes, ...(relation ? [compiled] : []), ...Draw.asRoot(recipe)];
};

/** The content as the contract gets it. */
export const content = (wanted: Wanted, data: Hex): readonly Child[] => [
  fact("Study id", code(wanted.study)),
  fact("Compose hash", code(wanted.content.composeHash)),
  fact("Output contract", code(wanted.content.outputHash)),
  fact("Privacy policy", code(wanted.content.privacyHash)),
  fact("Datasets", code(wanted.content.datasets.join(" "))),
  fact("Versions", wanted.content.versions.join(", ") + " (0: the newest when a run opens)"),
  fact("Basis", code(wanted.content.basis)),
  fact("Studies pinned before", wanted.content.nonce),
  ...Draw.further(wanted.content),
  ...place(wanted),
  fact("Call", code(functions.approve)),
  fact("Call data", code(data)),
];

/** Whether both are the content of one study. */
export const same = (one: Content, other: Content): boolean => asText(one) === asText(other);

export const approve = (): Action<Wanted> => ({
  act: "approve",
  title: "Approve this recipe",
  lead: () => ["You agree that exactly this recipe may compute on your data, once enough owners have approved. The first approval of a study proposes it."],
  tone: "primary",
  keepLabel: "Not now",
  sendLabel: "Approve: send 1 transaction",
  fileLabel: "Approve: get the Safe file",
  fileName: "Approve a study",
  signing: {
    primaryType: "ApproveStudy",
    label: "Approve: sign 1 message, send nothing",
    safeLabel: "Approve: sign 1 message for the Safe",
    apart: null,
    asksReturns: false,
    signed: "Signed. It does not count yet: somebody has to hand it in, by a transaction.",
    handsIn: true,
  },
  asksReason: false,
  byAnyone: false,
  careful: true,
  wanted: async () => Reading.page(),
  checks,
  asked: (intent) => {
    const { wanted } = intent;
    if (intent.way === "send") return { to: wanted.consortium, data: Calls.approve(wanted.content) };
    return { to: wanted.consortium, typedData: Calls.typedData({ primaryType: "ApproveStudy", message: { owner: intent.owner, study: wanted.content } }, wanted) };
  },
  isMine: (back, wanted) => back.act === "approve" && back.by.length === 0 && same(back.content, wanted.content),
  selector: selectors.approve,
  summary,
  facts: (wanted) => content(wanted, Calls.approve(wanted.content)),
  proposal: (wanted) => wanted.study,
  command: (wanted) => "sealroom govern approve " + wanted.study + " --consortium " + wanted.consortium + " --recipe app-compose.json --signatures FILE",
  // The approval that completes a quorum is told by the pin alone.
  happened: (log, wanted, owner) =>
    log.topics[1] === wanted.study && (log.topics[0] === events.StudyPinned || (log.topics[0] === events.Approved && names(log.topics[2], owner))),
  outcome: (wanted, account) => effect(wanted, [account], "Your approval of this study would stand on chain, and the study waits for others. No key is released by it, and no ε is booked."),
  sent: "It does not count yet.",
  done: "Approved",
  stays: false,
  seen: null,
});
