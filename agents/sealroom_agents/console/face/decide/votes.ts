// SPDX-License-Identifier: Apache-2.0
// The votes of owners on a study that waits, drawn from what the wallet's node says. The server draws the same for readers
// without scripts (templates/study.html).
import { make } from "../parts/dom.ts";
import { disk } from "./teller.ts";

const WORDS = ["approved", "revoked", "withdrew"] as const;

/** An owner's vote. */
export interface Cast {
  readonly account: string;
  readonly word: (typeof WORDS)[number] | "pending";
  /** Whether it revoked, and its veto stands. */
  readonly vetoes: boolean;
  /** Names of its datasets that the study reads. */
  readonly used: readonly string[];
}

/** Which vote a cell tells; whatever else it says is `pending`. */
export const wordOf = (cell: string): Cast["word"] => WORDS.find((one) => cell.trim().startsWith(one)) ?? "pending";

const why = ({ word, vetoes, used }: Cast, threshold: number): string => {
  if (word === "approved") return "";
  if (vetoes) return "its veto stands: nothing runs without it";
  if (used.length) return used.join(", ") + " is used: nothing runs without it";
  return "none of its data is used: any " + threshold + " are enough, if all whose data is used are among them";
};

const fill = (cell: Element, one: Cast, threshold: number): void => {
  const { word, vetoes, used } = one;
  const isNew = disk && (cell.hasAttribute("data-since") || wordOf(cell.textContent ?? "") !== word);
  cell.toggleAttribute("data-since", isNew);
  const tag = make("span", "tag", "required");
  tag.title = "The study cannot be pinned without this owner";
  const reason = why(one, threshold);
  cell.replaceChildren(
    make("span", "vote " + (word === "approved" ? "yes" : word === "pending" ? "wait" : "no"), word),
    ...(isNew ? [" since this file was made"] : []),
    ...(vetoes || used.length ? [" ", tag] : []),
    ...(reason ? [" ", make("span", "quiet", reason)] : []),
  );
};

/** Draw them all, and the quorum. words: of the quorum. threshold: how many it takes. */
export const draw = (cast: readonly Cast[], words: string, threshold: number): void => {
  for (const row of document.querySelectorAll<HTMLElement>("tr[data-owner]")) {
    const cell = row.querySelector("[data-cell=vote]");
    const one = cast.find(({ account }) => account === row.dataset.owner);
    if (cell && one) fill(cell, one, threshold);
  }
  for (const told of document.querySelectorAll('[data-shown="quorum"]')) {
    told.replaceChildren(words);
    const picture = told.closest(".quorum");
    picture?.setAttribute("aria-label", words);
    picture?.replaceChildren(...cast.map(({ word }) => make("span", word === "approved" ? "seat approved" : "seat")), told);
  }
};
