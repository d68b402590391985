// SPDX-License-Identifier: Apache-2.0
// Changes that owners agree on by votes, and what a holder lets be spent.
import type { Hex } from "viem";

import { names } from "../decide/actions.ts";
import { told } from "../model/governing.ts";
import type { Carried } from "../platform/candidate.ts";
import type { Recipe } from "../recipe/recipe.ts";
import type { Log } from "../wallets/node.ts";
import { type Act, asking, type Check } from "./act.ts";
import { type Adopts, mustAdopt } from "./adopting.ts";
import * as Checks from "./checks.ts";
import { type Deed, read, rows } from "./deed.ts";
import { demand } from "./demands.ts";
import { asTyped } from "./typed.ts";

const SPENDS = ["allow", "lifetime"];
const EFFECTS: readonly (string | undefined)[] = [told.StudyPinned, told.RosterChanged, told.PlatformAdopted, told.MachinesAdded];

const shows = (deed: Deed, { topics: [topic, about, who] }: Log, from: Hex): boolean => {
  if (deed.kind === "allow") return topic === told.Allowed && about === deed.dataset;
  if (deed.kind === "lifetime") return topic === told.LifetimeSet && about === deed.dataset;
  if (about !== deed.proposal) return false;
  return (topic === told.Approved && names(who, from)) || EFFECTS.includes(topic);
};

const checks = (deed: Deed): readonly Check[] => {
  let recipe: Recipe | null = null;
  const now = asking((wanted) => Checks.now(wanted, deed, recipe));
  if (deed.kind !== "study") return now;
  const bytes = async (): Promise<string> => {
    const [said, found] = await Checks.recipe(deed);
    recipe = found;
    return said;
  };
  return [
    { doing: "Reading the recipe’s bytes", check: bytes },
    { doing: "Asking the wallet’s node for the datasets", check: (wanted) => (recipe ? Checks.datasets(wanted, deed, recipe) : Promise.reject(new Error("The recipe was not read."))) },
    ...now,
  ];
};

/** A vote or a budget, read from its call. */
export const agreed = (data: Hex, kind: string): Act | Adopts => {
  const ofLedger = SPENDS.includes(kind);
  const deed = read(data, ofLedger);
  return {
    ...(deed.kind === "platform" ? { adopts: (gate: Carried) => mustAdopt(deed.fields, gate) } : {}),
    kind: deed.kind,
    ofLedger,
    proposal: "proposal" in deed ? deed.proposal : null,
    rows: rows(deed),
    typed: (query) => {
      // An address that says no to a proposal names it, too.
      demand(query.get("proposal") === null || !query.get("what"), "its kind");
      return asTyped(deed, query);
    },
    checks: checks(deed),
    actors: (wanted) => Checks.actors(wanted, deed),
    toldElsewhere: false,
    shows: (log, from) => shows(deed, log, from),
  };
};
