// SPDX-License-Identifier: Apache-2.0
// Whether a call does what a person asked for: what was typed, by the address bar, or the draft that was pasted.
import { mustBeTyped } from "./adopting.ts";
import type { Deed } from "./deed.ts";
import { demand, stop } from "./demands.ts";
import { drafted } from "./draft.ts";

const DAY = 86400n;

/** A number that a person typed, in units of 10^-places. */
export const typed = (text: string, places: number): bigint => {
  const found = /^([0-9]{1,13})(?:\.([0-9]{1,24}))?(?:[eE]-([0-9]{1,2}))?$/.exec(text);
  if (!found) return stop("The number " + text + " is not read here: write it like 4.5 or 1e-6.");
  const [, whole = "", part = "", tens = "0"] = found;
  const digits = BigInt(whole + part) * 10n ** BigInt(places);
  const unit = 10n ** BigInt(part.length + Number(tens));
  if (digits % unit) stop("The number " + text + " has too many digits.");
  return digits / unit;
};

/** Whether a time is so many days from now, give or take one: clocks differ. */
export const near = (expiry: bigint, days: string): boolean => {
  const wanted = BigInt(Math.floor(Date.now() / 1000)) + BigInt(days) * DAY;
  return expiry < wanted + DAY && expiry > wanted - DAY;
};

export const sameSet = (one: readonly string[], other: readonly string[]): boolean => one.length === other.length && one.every((each) => other.includes(each)) && other.every((each) => one.includes(each));

const asForm = (deed: Deed, query: URLSearchParams): void => {
  const given = (field: string, otherwise = ""): string => (query.get(field) ?? "").trim() || otherwise;
  demand(given("what") === deed.kind, "its kind");
  switch (deed.kind) {
    case "allow": {
      const epsilon = typed(given("epsilon"), 6);
      const day = typed(given("day", "0"), 6) || epsilon;
      const { limits } = deed;
      demand(deed.dataset === given("dataset"), "the dataset");
      demand(limits.epsilonMicro === epsilon && limits.epsilonPerDay === day && limits.deltaPico === typed(given("delta", "0"), 12), "the budget");
      return demand(limits.runsPerDay === BigInt(given("runs", "100")), "the number of runs");
    }
    case "lifetime":
      demand(deed.dataset === given("dataset"), "the dataset");
      return demand(deed.epsilonMicro === typed(given("epsilon"), 6) && deed.deltaPico === typed(given("delta", "0"), 12), "the budget");
    case "roster": {
      const [joins] = deed.add;
      const wanted = given("id") || given("account");
      demand(sameSet(deed.remove, query.getAll("remove")), "who loses its seat");
      demand(deed.add.length === (wanted ? 1 : 0), "who gets a seat");
      if (joins) demand([joins.id, joins.account, joins.jurisdiction].join(" ") === [given("id"), given("account").toLowerCase(), given("jurisdiction").toUpperCase()].join(" ") && sameSet(joins.regimes, query.getAll("regimes")), "who gets a seat");
      if (given("threshold")) demand(deed.threshold === BigInt(given("threshold")), "the threshold");
      return demand(near(deed.expiry, given("days", "90")), "how long votes count");
    }
    case "platform":
      mustBeTyped(deed.fields, given);
      return demand(near(deed.expiry, given("days", "30")), "how long votes count");
    case "study":
      demand(deed.content.composeHash === given("recipe"), "the recipe");
      demand(deed.content.versions.every((one) => one === "0"), "a version of a dataset");
      demand(BigInt(deed.content.maxRuns) === BigInt(given("runs", "1")), "the number of runs");
      return demand(near(BigInt(deed.content.expiry), given("days", "30")), "how long it may run");
    default:
      return demand(false, "its kind");
  }
};

/** The bytes do what the address bar says. */
export const asTyped = (deed: Deed, query: URLSearchParams): string => {
  const proposal = query.get("proposal");
  if (proposal !== null) {
    demand("follows" in deed && deed.proposal === proposal, "the proposal");
    return "Computed in this page: the call votes for the proposal whose id stands in the address bar.";
  }
  if (query.get("what") === "draft") {
    demand("follows" in deed && deed.proposal === drafted(query.get("draft") ?? "", deed.kind), "the draft");
    return "Computed in this page: the call votes for exactly the draft that stands in the address bar, whose id it names. What stands above is read from the call: compare it with the file that you have.";
  }
  asForm(deed, query);
  return "Compared in this page: the call does what you asked for, by the address bar.";
};
