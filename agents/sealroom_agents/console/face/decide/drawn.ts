// SPDX-License-Identifier: Apache-2.0
// Draws what the room computes: odds, exactness, budget, differences, the words to compare. The server draws the same texts for
// readers without scripts, but for differences. All text is set as text.
import { countText } from "../model/units.ts";
import { type Child, code, joined, make, prose } from "../parts/dom.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { bar } from "./bars.ts";
import * as Budget from "./budget.ts";
import type { Section } from "./difference.ts";
import { type Bar, expected, threeDigits } from "./expected.ts";
import * as Odds from "./odds.ts";
import { teller } from "./teller.ts";
import { twelveWords } from "./words.ts";

/** Where a statement comes from. */
export const mark = (kind: "here" | "chain" | "said" | "broken", words: string): HTMLElement => make("span", "mark " + kind, words);

const table = (name: string, heads: readonly string[], rows: readonly (readonly Child[])[]): HTMLElement => {
  const body = rows.map(([first = "", ...rest]) => {
    const head = make("th", "", first);
    head.scope = "row";
    const cells = rest.map((child, place) => {
      const cell = make("td", "", child);
      // Where a row becomes a card, each cell carries its label.
      cell.dataset.label = heads[place + 1] ?? "";
      return cell;
    });
    return make("tr", "", head, ...cells);
  });
  const head = heads.map((text) => {
    const cell = make("th", "", text);
    cell.scope = "col";
    return cell;
  });
  return make("div", "scroll", make("table", name, make("thead", "", make("tr", "", ...head)), make("tbody", "", ...body)));
};

const told = (bars: readonly Bar[] | null): Child[] =>
  bars ? joined(bars.map(({ about, half }) => make("span", "", ...prose(about), " ±" + threeDigits(half))), "; ") : ["This page has no closed form for this kind: see the " + teller + "’s words below."];

/** What ε buys: odds of one run and of the study, the exception, and how exact each number is. */
export const buys = (recipe: Recipe, terms: Odds.Terms, records: number): HTMLElement => {
  const chances = Odds.ofStudy(recipe, terms).map((one): Child[] => [one.about, "ε " + one.epsilon, one.right, bar(["fill", one.bar])]);
  return make(
    "div",
    "",
    make("p", "", "Each ", code(recipe.unit), " is protected with all its rows. Somebody who gives even odds that one is in the data, and knows everything else, guesses right at most so often:"),
    table("cards odds", ["For", "ε", "Right", "From 50 to 100"], chances),
    make("p", "", "This is the promise, not the expectation. " + Odds.exception(recipe.deltaPico)),
    make("h3", "", "How exact the numbers are"),
    make("p", "quiet", "With " + countText(records) + " registered records in equal groups, noise moves a number by less than this in 19 of 20 runs."),
    table("cards", ["Field", "Noise"], recipe.fields.map((field): Child[] => [code(field.name), make("span", "", ...told(expected(field, recipe, records)))])),
  );
};

/** The lifetime budget of each dataset beside this study. */
export const budget = (lines: readonly Budget.Line[], terms: Odds.Terms): HTMLElement => {
  const rows = lines.map((one): Child[] => [
    one.name,
    one.owner,
    one.spent,
    one.takes,
    one.left,
    one.cap,
    one.life,
    make("span", one.runs === BigInt(terms.maxRuns) ? "" : "vote no", one.fits),
    bar(["fill", one.bars.spent], ["take", one.bars.takes]),
  ]);
  const fits = lines.every((one) => one.runs === BigInt(terms.maxRuns));
  return make(
    "div",
    "",
    make("p", fits ? "note h" : "notice danger", Budget.verdict(lines, terms)),
    table("cards budgets", ["Dataset", "Owner", "Spent", "This study may take", "Left afterwards", "Lifetime cap", "Whole life: right", "Runs", "Spent and taken"], rows),
    make("p", "quiet", "Spent ε never comes back, not even for a run that fails."),
    make("p", "", mark("said", "names of owners are the word of whoever seated them")),
  );
};

const lines = (changed: readonly string[]): HTMLElement => {
  const items = changed.map((line) => make("li", line.startsWith("+") ? "come" : line.startsWith("-") ? "gone" : "", make("code", "", line)));
  const box = make("div", "source", make("ol", "", ...items));
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "Changed lines");
  return box;
};

/** What is different, by section. */
export const differences = (sections: readonly Section[]): HTMLElement =>
  make(
    "div",
    "differences",
    ...(sections.length
      ? sections.flatMap(({ title, changes }) => {
          const members = changes.flatMap((one): Child[][] => ("was" in one ? [[one.about, make("span", "", ...prose(one.was)), make("span", "", ...prose(one.is))]] : []));
          const texts = changes.flatMap((one) => ("lines" in one ? [make("p", "quiet", one.about), lines(one.lines)] : []));
          return [make("h3", "", title), ...(members.length ? [table("cards", ["What", "Was", "Is now"], members)] : []), ...texts];
        })
      : [make("p", "", "Nothing: the same recipe on the same terms.")]),
  );

/** The twelve words of a study, in three lines of four. */
export const words = (study: string): HTMLElement => {
  const all = twelveWords(study);
  return make("ol", "twelve", ...all.map((word) => make("li", "", word)));
};
