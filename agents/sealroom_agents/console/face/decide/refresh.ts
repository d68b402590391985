// SPDX-License-Identifier: Apache-2.0
// A page from disk is as old as its file. What the wallet's node knows of budgets takes the place of what was so when
// the file was made; a page that was served just now may differ in neither, and its difference is a lie.
import { countText } from "../model/units.ts";
import { visible } from "../parts/text.ts";
import * as Draw from "../recipe/draw.ts";
import { meter } from "./bars.ts";
import type { Matched } from "./matched.ts";

const row = (name: string, value: string): HTMLElement | undefined =>
  [...document.querySelectorAll<HTMLElement>("tr[data-" + name + "]")].find((one) => one.dataset[name] === value);

const put = (row: HTMLElement | undefined, cell: string, text: string): void => {
  const found = row?.querySelector("[data-cell=" + cell + "]");
  if (found && found.textContent !== text) found.replaceChildren(text);
};

/** The pictures of what each dataset has spent. */
export const meters = (found: readonly Matched[]): void => {
  for (const { dataset: one } of found) {
    const [life, here] = row("dataset", one.id)?.querySelectorAll(".meter") ?? [];
    life?.replaceWith(meter(one.account.epsilonSpent, one.account.epsilonCap));
    here?.replaceWith(meter(one.allowance.epsilonSpent, one.allowance.epsilonCap));
  }
};

/** What each dataset has spent, and its version. `records`: rows of all tables. */
export const datasets = (found: readonly Matched[], versions: readonly string[], records: number): void => {
  found.forEach(({ dataset: one, holder }, place) => {
    const shown = row("dataset", one.id);
    put(shown, "owner", visible(holder));
    put(shown, "version", Draw.version(versions[place] ?? "", one.number));
    put(shown, "rows", countText(one.rows));
    put(shown, "lifetime", Draw.account(one.account));
    put(shown, "allowance", Draw.account(one.allowance));
    put(shown, "day", Draw.daily(one.allowance));
  });
  meters(found);
  const box = document.getElementById("drawn-buys");
  if (box) box.dataset.records = String(records);
};
