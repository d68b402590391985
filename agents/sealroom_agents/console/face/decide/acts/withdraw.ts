// SPDX-License-Identifier: Apache-2.0
// An owner's no to one proposal. It stops nothing.
import * as Calls from "../../model/calls.ts";
import { events, functions } from "../../model/model.ts";
import { selectors } from "../../model/readback.ts";
import { code, fact, make } from "../../parts/dom.ts";
import * as Draw from "../../recipe/draw.ts";
import { names, place, type Action } from "../actions.ts";
import * as Checks from "../checks.ts";
import * as Reading from "../reading.ts";
import type { Wanted } from "../reading.ts";

export const withdraw = (): Action<Wanted> => ({
  act: "withdraw",
  title: "Say no to this proposal",
  lead: () => ["Your no stands on chain. Your approval of this study, whether given or signed and not handed in, no longer counts, and there is no way back for this study. ", make("strong", "", "This stops nothing that is live"), ": for that, revoke."],
  tone: "danger",
  keepLabel: "Not now",
  sendLabel: "Say no: send 1 transaction",
  fileLabel: "Say no: get the Safe file",
  fileName: "Say no to a study",
  signing: {
    primaryType: "Withdraw",
    label: "Say no: sign 1 message, send nothing",
    safeLabel: "Say no: sign 1 message for the Safe",
    apart: null,
    asksReturns: false,
    signed: "Signed. Your no does not stand yet: any account must submit this file with",
    handsIn: false,
  },
  asksReason: false,
  byAnyone: false,
  careful: false,
  wanted: async () => Reading.page(),
  checks: [
    ["Asking the wallet for its chain", Checks.chain],
    ["Computing the study id", Checks.study],
  ],
  asked: (intent) => {
    const { wanted } = intent;
    if (intent.way === "send") return { to: wanted.consortium, data: Calls.withdraw(wanted.study) };
    return { to: wanted.consortium, typedData: Calls.typedData({ primaryType: "Withdraw", message: { owner: intent.owner, proposal: wanted.study } }, wanted) };
  },
  isMine: (back, wanted) => back.act === "withdraw" && back.study === wanted.study,
  selector: selectors.withdraw,
  summary: async (wanted) => [
    make("p", "", make("span", "mark said", "the recipe’s bytes are not read for a no"), " Your no is to this study id, and to the terms below, which have this id. What its recipe computes or lets leave, this dialog does not check."),
    make("dl", "facts", fact("Study id", code(wanted.study)), fact("Compose hash", code(wanted.content.composeHash)), fact("Budget", Draw.budget(wanted.content))),
  ],
  facts: (wanted) => [...place(wanted), fact("Call", code(functions.withdraw)), fact("Call data", code(Calls.withdraw(wanted.study)))],
  proposal: (wanted) => wanted.study,
  command: (wanted) => "sealroom govern withdraw " + wanted.study + " --consortium " + wanted.consortium + " --signatures FILE",
  happened: (log, wanted, owner) => log.topics[0] === events.Withdrawn && log.topics[1] === wanted.study && names(log.topics[2], owner),
  outcome: async () => "Your no would stand on chain. Nothing that runs is stopped by it.",
  sent: "It does not count yet.",
  done: "Withdrawn",
  stays: false,
  seen: null,
});
