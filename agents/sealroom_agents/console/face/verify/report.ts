// SPDX-License-Identifier: Apache-2.0
// What a walk amounts to, in the words of `sealroom verify`: a verdict, where each answer comes from, what was not checked,
// and a certificate where the expected consortium is known.
import type { Envelope } from "./envelope.ts";
import type { Inputs } from "./inputs.ts";
import { timeText } from "./of_run.ts";
import { ORIGINS, origins } from "./pin.ts";
import { parseRecipe } from "../recipe/recipe.ts";
import type { Verdict } from "./verdict.ts";
import { verdictOf } from "./verdict.ts";
import type { Link } from "./walk.ts";
import { PROVEN } from "./walk.ts";

/** Where a link's answer comes from: computed from bytes; the same against a simulator's root; from proofs whose blocks
 * nobody, the gate, or nodes vouch for; broken. */
export type Mark = "recomputed" | "simulated" | "proofs" | "gate" | "chain" | "broken";

export interface MarkedLink extends Link {
  mark: Mark;
}

export interface Certificate {
  sentence: string;
  facts: readonly (readonly [string, string])[];
  links: readonly string[];
}

export interface Report {
  outcome: Verdict["outcome"];
  /** Whether a node was asked. */
  asked: boolean;
  /** Whether a simulator's root stood in for hardware. */
  simulated: boolean;
  sentence: string;
  /** The parts of the walk that held, never one number for all. */
  fraction: string;
  /** What is proven, and what is not. */
  lines: readonly (readonly [string, string])[];
  warnings: readonly string[];
  certificate: Certificate | null;
  /** Why there is none. */
  why: string;
}

const UNSIGNED = "a result of a simulated platform needs its root.der: drop both in the same choice. It proves nothing elsewhere";
const CHAINED = new Set([...PROVEN.map((step) => step.name), "revocation"]);
const HARDWARE = new Set(["quote", "gate-quote"]);
const WORDS: Readonly<Record<Mark, string>> = {
  recomputed: "recomputed",
  simulated: "simulated",
  proofs: "in proofs whose blocks nobody vouches for",
  gate: "in proofs whose blocks the gate vouches for",
  chain: "asked of the chain",
  broken: "broken",
};
const MARKS = Object.keys(WORDS) as Mark[];

/** The links with their marks. */
export const marked = (links: readonly Link[], inputs: Inputs): MarkedLink[] => {
  const blocks = links.find((link) => link.blocks.length)?.blocks ?? [];
  const vouched = blocks.every((block) => block.vouchers.length);
  const elsewhere = blocks.every((block) => block.vouchers.some((who) => who !== "gate"));
  const proofs: Mark = !vouched ? "proofs" : elsewhere ? "chain" : "gate";
  return links.map((link) => ({ ...link, mark: !link.ok ? "broken" : CHAINED.has(link.name) ? proofs : HARDWARE.has(link.name) && inputs.trust.rootDer ? "simulated" : "recomputed" }));
};

/** `9 recomputed · 2 simulated · 5 asked of the chain`. */
export const fractionOf = (links: readonly MarkedLink[]): string =>
  MARKS.map((mark) => [links.filter((link) => link.mark === mark).length, WORDS[mark]] as const)
    .filter(([count]) => count)
    .map(([count, words]) => `${count} ${words}`)
    .join(" · ");

const sentenceOf = (verdict: Verdict, count: number): string => {
  if (verdict.broken) return `the link ${verdict.broken.name} is broken: ${verdict.broken.detail}`;
  if (verdict.unproven.length) return `self-consistent, origin unproven: all ${count} links hold, by its own claims`;
  return `${verdict.simulated ? "holds, on a simulated machine" : "proven"}: all ${count} links hold, and every origin is the pinned one`;
};

const vouchedBy = (verdict: Verdict): string => {
  const who = new Set(verdict.blocks.flatMap((block) => block.vouchers));
  const measured = verdict.blocks.find((block) => block.gateCompose)?.gateCompose ?? "";
  const told = { node: "the nodes that were asked (--rpc)", auditor: "the hashes that were given (--block-hash)", gate: `the signature of the gate whose quote measures compose ${measured}` };
  const lacking = verdict.blocks.filter((block) => !block.vouchers.length).map((block) => String(block.number));
  const words = [...who].map((voucher) => told[voucher]);
  if (lacking.length) words.push(words.length ? `nobody for ${lacking.join(", ")}` : "nobody");
  return words.join("; ");
};

const linesOf = (verdict: Verdict): [string, string][] => [
  ["enclave proven", verdict.outcome === "simulated" ? "no, its machine is simulated" : verdict.enclaveProven ? "yes" : "no"],
  ["anchored on chain", verdict.anchored === null ? "not looked at" : verdict.anchored ? "yes" : "no"],
  ...(verdict.blocks.length ? [["blocks vouched for by", vouchedBy(verdict)] as [string, string]] : []),
];

const warningsOf = (verdict: Verdict, envelope: Envelope, inputs: Inputs, links: readonly Link[], node: boolean): string[] => {
  const found: string[] = [];
  if (verdict.broken) return verdict.broken.code === "quote-invalid" ? [UNSIGNED] : found;
  if (node && !envelope.anchor?.proofs.length) found.push("the file has no proofs, so the node was not asked: sealroom verify FILE --rpc URL asks one that keeps old state");
  const since = links.find((link) => link.name === "revocation");
  if (since && !since.detail.startsWith("nobody has revoked")) found.push(since.detail);
  if (verdict.unproven.length) found.push(`nothing that you pinned vouches for: ${verdict.unproven.map((origin) => ORIGINS[origin]).join(", ")}`);
  if (inputs.trust.rootDer) found.push("the hardware is SIMULATED: the holder of its root key can make such an envelope");
  if (verdict.unchecked.length) {
    const what = verdict.unchecked.join(", ");
    if (verdict.blocks.some((block) => !block.vouchers.length)) found.push(`what the proofs say is as good as these blocks (${what})`);
    else if (verdict.restsOnGate) found.push(`what the proofs say is as good as the gate that signed for these blocks (${what})`);
    else found.push(`not checked, for it is on chain: ${what}`);
  }
  if (links.some((link) => link.name === "recipe" && link.ok) && parseRecipe(envelope.recipe).relation !== null) {
    found.push("the SQL of the recipe was read as text: that it keeps people apart, the enclave’s compiler and sealroom verify say");
  }
  return found;
};

const certificateOf = (verdict: Verdict, envelope: Envelope, inputs: Inputs, links: readonly MarkedLink[], digest: string): Certificate => {
  const { statement, grant, gate, anchor, result } = envelope;
  const simulated = inputs.trust.rootDer ? " The hardware is SIMULATED." : "";
  return {
    sentence: `The file ${inputs.file.name} holds the result of the study “${String(result.get("study"))}”, ε ${String(result.get("epsilon"))}, δ ${String(result.get("delta"))}. ${upper(sentenceOf(verdict, links.length))}.${simulated}`,
    facts: [
      ["file", `${inputs.file.name}, SHA-256 ${digest}`],
      ["chain and consortium", `${statement.chainId}, ${statement.consortium}`],
      ["expected by", inputs.sources.join(", ")],
      ["run", statement.runId],
      ["study", statement.study],
      ["recipe", statement.composeHash],
      ["result", statement.resultDigest],
      ["enclave’s key", grant.enclaveSigner],
      ["gate", `${gate.signer}, compose ${gate.composeHash}`],
      ["keys granted", timeText(grant.issued)],
      ["receipt", anchor ? `number ${anchor.sequence}, block ${anchor.block}, as the file says` : "not in the file"],
      ...linesOf(verdict),
      ["origin unproven", verdict.unproven.map((origin) => ORIGINS[origin]).join(", ") || "none"],
      ["not checked", verdict.unchecked.join(", ") || "nothing"],
    ],
    links: links.map((link) => `${link.name}: ${WORDS[link.mark]}`),
  };
};

const upper = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

/** The report on the links of one walk. `digest` is that of the file, `node` whether there was one to ask. */
export const reportOn = (links: readonly Link[], envelope: Envelope, inputs: Inputs, digest: string, node: boolean): Report => {
  const asked = node && Boolean(envelope.anchor?.proofs.length);
  const verdict = verdictOf(links, inputs.pin, asked, inputs.trust.rootDer !== null);
  const told = marked(links, inputs);
  const expected = origins(inputs.pin).has("consortium");
  const why = verdict.broken
    ? "No certificate of verification is made for a file with a broken link."
    : expected
      ? ""
      : "No certificate of verification is made: you named no consortium that you expect. A file proves itself only. Whoever owns a gate and a few accounts can make one that holds.";
  return {
    outcome: verdict.outcome,
    simulated: inputs.trust.rootDer !== null,
    asked,
    sentence: upper(sentenceOf(verdict, links.length)) + ".",
    fraction: fractionOf(told),
    lines: linesOf(verdict),
    warnings: warningsOf(verdict, envelope, inputs, links, node),
    certificate: why ? null : certificateOf(verdict, envelope, inputs, told, digest),
    why,
  };
};
