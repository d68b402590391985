// SPDX-License-Identifier: Apache-2.0
// The list of proposals that the server drew, beside what the wallet's node shows to wait: whether it left one out, or named it
// where nobody sees it. How many wait and up to when, the node alone says.
import { type Child, code, make } from "../parts/dom.ts";
import { isHash } from "../model/calls.ts";
import type { Wanted } from "./reading.ts";
import * as Standing from "./standing.ts";
import * as Source from "./source.ts";
import { refuse, teller } from "./teller.ts";

const VISIBLE = { opacityProperty: true, visibilityProperty: true } as const;

/** The studies that the page lists, where a reader sees them. Throws where it has no place for them. */
const listed = (): ReadonlySet<string> => {
  const box = document.getElementById("waiting");
  if (!box) throw new Error("The " + teller + " does not show which proposals wait. " + refuse);
  const seen = [...box.querySelectorAll<HTMLElement>("[data-proposal]")].filter((one) => one.checkVisibility(VISIBLE));
  const shown = document.querySelector<HTMLElement>(".actions")?.dataset.study ?? "";
  return new Set([...seen.map((one) => one.dataset.proposal ?? ""), shown].filter(isHash));
};

/** What waits by the node; `missing` those that the page must list and does not. */
export interface LeftOut extends Omit<Standing.Found, "since"> {
  readonly missing: readonly Standing.Proposed[];
  /** Those that a file cannot list, by the block that it names: they were proposed later. */
  readonly since: readonly Standing.Proposed[];
}

/** Compare with what the page lists, a page from disk that was made at a block. Its maker names it: one before the study's own
 * proposal would excuse whatever is hidden, and excuses nothing. */
export const compare = (found: Standing.Found, studies: ReadonlySet<string>, made: bigint | null, own: bigint): LeftOut => {
  const unlisted = found.waiting.filter(({ study }) => !studies.has(study));
  const later = (one: Standing.Proposed): boolean => made !== null && made >= own && one.block > made;
  return { ...found, missing: unlisted.filter((one) => !later(one)), since: unlisted.filter(later) };
};

const asked = new WeakMap<Wanted, Promise<Standing.Found>>();

/** What the node shows, asked once for each time that somebody looks. */
export const found = (wanted: Wanted): Promise<Standing.Found> => {
  const known = asked.get(wanted) ?? Standing.waiting(wanted.consortium);
  asked.set(wanted, known);
  return known;
};

/** Compare it with the page. */
export const leftOut = async (wanted: Wanted): Promise<LeftOut> => compare(await found(wanted), listed(), Source.madeAt(), BigInt(wanted.block));

/** The others that wait beside a study, for its dialog: by the node, whatever the page shows. */
export const beside = async (wanted: Wanted): Promise<readonly Child[]> => {
  const { waiting } = await found(wanted);
  const others = waiting.filter(({ study }) => study !== wanted.study);
  if (!others.length) return [make("p", "quiet", "By your wallet’s node no other study waits for approval.")];
  const lines = others.map(({ study, block }) => make("li", "", code(study, "wrap"), " · proposed in block " + block));
  return [make("p", "", make("strong", "", "You approve one of " + (others.length + 1) + ". "), "By your wallet’s node wait beside it, and are not approved by this:"), make("ul", "plain beside", ...lines)];
};
