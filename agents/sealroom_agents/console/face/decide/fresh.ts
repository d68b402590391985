// SPDX-License-Identifier: Apache-2.0
// How old a page may be on which an owner agrees to something: what it shows was so when it was drawn.
const OLD_AFTER_MS = 10 * 60 * 1000;
const drawn = Date.now();

/** Throws on a page that is too old. */
export const mustBeFresh = (): void => {
  if (Date.now() - drawn > OLD_AFTER_MS) throw new Error("This page was drawn more than 10 minutes ago. Reload it, and look again.");
};
