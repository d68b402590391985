// SPDX-License-Identifier: Apache-2.0
// An owner's revocation: it stops everything. It rests on the address bar and the wallet's node alone, since stopping must work
// when the server lies and nodes disagree.
import * as Calls from "../../model/calls.ts";
import { events, functions } from "../../model/model.ts";
import { selectors } from "../../model/readback.ts";
import { code, fact, make, prose } from "../../parts/dom.ts";
import { names, place, type Action, type Target } from "../actions.ts";
import * as Reading from "../reading.ts";

/** A revocation with its public words. */
export interface Stop extends Target {
  readonly reason: string;
}

const list = (title: string, ...lines: readonly string[]): HTMLElement => make("div", "", make("h3", "", title), make("ul", "", ...lines.map((line) => make("li", "", line))));

const lead = (): HTMLElement =>
  make(
    "div",
    "two",
    list(
      "Stops",
      "Every run that computes now: its lease is not renewed, its keys are wiped.",
      "Every later run: no key is released for any study of this consortium.",
      "Every approval of a study given so far, the other owners’ too.",
    ),
    list(
      "Does not undo",
      "Results and models that are out, and their receipts.",
      "ε that is spent.",
      "Votes on owners and machines: they go on counting.",
      "Coming back takes a new quorum, and you in it.",
    ),
  );

/** For a shell: nothing in it means anything. */
const quoted = (text: string): string => "'" + text.replaceAll("'", "'\\''") + "'";

/** The mark that approvals follow from then on: the first word of the event's data. */
const markOf = (data: string): bigint => (/^0x[0-9a-f]{64}/i.test(data) ? BigInt(data.slice(0, 66)) : -1n);

export const revoke = (): Action<Stop> => ({
  act: "revoke",
  title: "Revoke everything",
  lead: () => ["For all studies of this consortium, by one transaction of yours.", lead()],
  tone: "danger solid",
  keepLabel: "Keep running",
  sendLabel: "Revoke now: send 1 transaction",
  fileLabel: "Get the Safe file: it stops nothing until it is executed",
  fileName: "Revoke everything",
  signing: {
    primaryType: "Revoke",
    label: "Sign an order that somebody else must send",
    safeLabel: "Sign the Safe’s order that somebody else must send",
    apart: {
      label: "I cannot send transactions…",
      back: "Back to revoking",
      warning: "This stops nothing until somebody sends it. You get a signed order; until it is in a block, runs go on. Use it only where your account cannot pay for a transaction.",
    },
    asksReturns: true,
    signed: "Signed. This stops nothing until somebody sends it: any account must submit this file, with the same words, with",
    handsIn: false,
  },
  asksReason: true,
  byAnyone: false,
  careful: false,
  wanted: async (reason, chain) => Object.freeze({ ...Reading.place(), chain: await chain(), reason }),
  checks: [],
  asked: (intent) => {
    const { wanted } = intent;
    if (intent.way === "send") return { to: wanted.consortium, data: Calls.revoke(wanted.reason) };
    return { to: wanted.consortium, typedData: Calls.typedData({ primaryType: "Revoke", message: { owner: intent.owner, reason: wanted.reason, returns: intent.returns } }, wanted) };
  },
  isMine: (back, wanted) => back.act === "revoke" && back.reason === wanted.reason,
  selector: selectors.revoke,
  summary: async () => [],
  facts: (wanted) => [fact("Reason", ...prose(wanted.reason)), ...place(wanted), fact("Call", code(functions.revoke)), fact("Call data", code(Calls.revoke(wanted.reason)))],
  proposal: () => "0x" + "0".repeat(64),
  command: (wanted) => "sealroom govern revoke --consortium " + wanted.consortium + " --reason " + quoted(wanted.reason) + " --signatures FILE",
  happened: (log, _, owner, before) => log.topics[0] === events.Revoked && names(log.topics[1], owner) && markOf(log.data) !== -1n && markOf(log.data) !== before?.mark,
  outcome: async () => "The consortium would be revoked. Everything that runs under it would end.",
  sent: "Not revoked yet.",
  done: "Revoked",
  stays: true,
  async seen({ consortium }, { account }) {
    const answer = await fetch("/v1/studies/" + consortium, { credentials: "omit", redirect: "error", cache: "no-store" });
    const { consortium: where, block, owners } = (await answer.json()) as Readonly<Record<string, unknown>>;
    if (!answer.ok || where !== consortium || !Number.isSafeInteger(block) || !Array.isArray(owners)) return null;
    const seen = owners.some((one: Readonly<Record<string, unknown>> | null) => one?.account === account && one.revoked === true);
    return seen ? "This console has seen it too, up to block " + String(block) + ": the console’s word." : null;
  },
});
