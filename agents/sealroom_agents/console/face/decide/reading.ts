// SPDX-License-Identifier: Apache-2.0
// The study of this page: what the server says of it, what its recipe's bytes say, and whether the two are the same. What
// the bytes say takes the place of what the server drew.
import type { Hex } from "viem";

import { type Content, isAddress, isHash, readContent } from "../model/calls.ts";
import { consortiumOf } from "../parts/address_bar.ts";
import { make, prose } from "../parts/dom.ts";
import { messageOf } from "../parts/text.ts";
import * as Draw from "../recipe/draw.ts";
import { sha256 } from "../base/hashes.ts";
import { read } from "../recipe/read.ts";
import type { Recipe } from "../recipe/recipe.ts";
import * as Drawn from "./drawn.ts";
import type { Terms } from "./odds.ts";
import * as Source from "./source.ts";
import { disk, refuse, teller } from "./teller.ts";

const box = (): HTMLElement | null => document.querySelector<HTMLElement>(".actions");
const element = (id: string): HTMLElement | null => document.getElementById(id);
const bare = (text: string): string => text.replace(/\s+/g, "");

/** Where the page is. */
export interface Place {
  readonly consortium: Hex;
}

/** What the server names: nothing of it is believed before it is checked. */
export interface Wanted extends Place {
  readonly chain: string;
  readonly study: Hex;
  readonly block: string;
  readonly content: Content;
}

/** The recipe, and the parts that the server had drawn otherwise. */
export interface Read {
  readonly recipe: Recipe;
  readonly lies: readonly string[];
}

/** The consortium that the address bar names, whatever the server says here; a file's address names none. */
export const place = (): Place => {
  const consortium = disk ? box()?.dataset.consortium : consortiumOf("");
  if (!isAddress(consortium)) throw new Error((disk ? "The file" : "The address bar") + " names no consortium. " + refuse);
  return Object.freeze({ consortium });
};

/** The same with the study that the server names, of that very consortium. */
export const page = (): Wanted => {
  const { consortium } = place();
  if (box()?.dataset.consortium !== consortium) throw new Error("The address bar names another consortium than this page. " + refuse);
  const { chain = "", study, content = "", block = "" } = box()?.dataset ?? {};
  const asked = disk ? null : new URLSearchParams(window.location.search).get("study");
  if (asked !== null && asked !== study) throw new Error("The address bar names another study than this page. " + refuse);
  if (!isHash(study) || !/^[0-9]{1,15}$/.test(block) || !/^[0-9]{1,20}$/.test(chain)) throw new Error("The " + teller + " names no study.");
  return Object.freeze({ consortium, chain, study, block, content: readContent(JSON.parse(content)) });
};

// Compare a part of the page, blanks aside, with what it must say. what: what to do where it does not.
export const same = (part: string, shown: string, truth: string, what: string = refuse): void => {
  if (bare(shown) !== bare(truth)) throw new Error("The " + teller + " shows something else than it should in “" + part + "”. " + what);
};

const VISIBLE = { opacityProperty: true, visibilityProperty: true } as const;

/** Throws where a reader does not see it: another may stand in its place. */
export const seen = (part: string, one: Element | null): void => {
  if (one && !one.checkVisibility(VISIBLE)) throw new Error("The " + teller + " hides “" + part + "”. " + refuse);
};

// Every element that the server marked as showing one of these facts; at least one each.
export const shows = (facts: Readonly<Record<string, string>>, what: string = refuse): void => {
  for (const [name, truth] of Object.entries(facts)) {
    const marked = document.querySelectorAll('[data-shown="' + name + '"]');
    if (!marked.length) throw new Error("The " + teller + " does not show “" + name + "”. " + refuse);
    for (const one of marked) same(name, one.textContent ?? "", truth, what);
    // A narrow screen leaves some of them out, such as those of the head.
    if (![...marked].some((one) => one.checkVisibility(VISIBLE))) throw new Error("The " + teller + " hides “" + name + "”. " + refuse);
  }
};

/** A recipe's bytes, as server or file keeps them under their hash. Throws where it has none, or others. */
export const bytesOf = async (composeHash: Hex): Promise<ArrayBuffer> => {
  const bytes = await Source.bytes(composeHash);
  if (sha256(new Uint8Array(bytes)) !== composeHash) throw new Error("The recipe’s bytes do not have the compose hash that you approve. Do not sign.");
  return bytes;
};

const fetched = async (content: Content): Promise<Recipe> => {
  const recipe = read(await bytesOf(content.composeHash));
  if (recipe.outputHash !== content.outputHash) throw new Error("The study names another output contract than the one in the recipe’s bytes. Do not sign.");
  if (recipe.privacyHash !== content.privacyHash) throw new Error("The study names another privacy policy than the one in the recipe’s bytes. Do not sign.");
  return recipe;
};

/** What owners approve, in numbers. */
export const termsOf = ({ epsilonMicro, deltaPico, maxRuns }: Content): Terms => ({ epsilonMicro: BigInt(epsilonMicro), deltaPico: BigInt(deltaPico), maxRuns: Number(maxRuns) });

/** How many records the server says that owners registered; compared with the wallet's node before a wallet is asked. */
export const records = (): number => {
  const told = element("drawn-buys")?.dataset.records ?? "";
  if (!/^[0-9]{1,15}$/.test(told)) throw new Error("The " + teller + " names no number of records.");
  return Number(told);
};

/** The parts that the bytes decide, by their ids. */
const PARTS = {
  "drawn-name": "name",
  "drawn-question": "question",
  "drawn-agreed": "What is agreed to",
  "drawn-leaves": "All that may leave",
  "drawn-analysis": "What computes",
  "drawn-buys": "What ε buys",
  "drawn-words": "Twelve words",
} as const;

/** Throws where one of them is not to be seen. */
export const allSeen = (): void => {
  for (const [id, title] of Object.entries(PARTS)) seen(title, element(id));
};

// Draw the parts that the bytes decide, and remember which of them the server had drawn otherwise.
const draw = ({ study, content }: Wanted, recipe: Recipe): string[] => {
  const lies: string[] = [];
  const parts: Readonly<Record<keyof typeof PARTS, string | HTMLElement>> = {
    "drawn-name": recipe.name,
    "drawn-question": make("span", "", ...prose(recipe.question)),
    "drawn-agreed": Draw.agreed(study, content, recipe, Source.link(content.composeHash)),
    "drawn-leaves": Draw.leaves(recipe),
    "drawn-analysis": Draw.computes(recipe),
    "drawn-buys": Drawn.buys(recipe, termsOf(content), records()),
    "drawn-words": Drawn.words(study),
  };
  for (const [id, drawn] of Object.entries(parts)) {
    const part = element(id);
    const before = part?.textContent ?? "";
    part?.replaceChildren(drawn);
    if (bare(before) !== bare(typeof drawn === "string" ? drawn : (drawn.textContent ?? ""))) lies.push(PARTS[id as keyof typeof PARTS]);
  }
  // Only SQL is compiled: where a script computes, there is nothing of the kind to show.
  const compiled = element("compiled");
  if (compiled && !recipe.relation) {
    compiled.remove();
    lies.push("What runs instead");
  }
  return lies;
};

let known: Promise<Read> | null = null;

/** Draw anew what ε buys, for records that a node told. */
export const redrawBuys = async (wanted: Wanted): Promise<void> => {
  const read = await recipe(wanted);
  element("drawn-buys")?.replaceChildren(Drawn.buys(read.recipe, termsOf(wanted.content), records()));
};

// The recipe, read once, and the parts that the server had drawn otherwise. A failure is not kept: bytes may come later.
export const recipe = (wanted: Wanted): Promise<Read> => {
  const asked = (known ??= fetched(wanted.content).then((found) => Object.freeze({ recipe: found, lies: draw(wanted, found) })));
  asked.catch(() => (known = null));
  return asked;
};

/** Tell the reader, above all else, what is wrong. */
export const say = (text: string): void => {
  const note = element("drawn-note");
  if (!note) return;
  note.append(...(note.hidden ? [] : [make("br", "")]), text);
  note.hidden = false;
};

// At once, so that a reader sees what the bytes say and not what the server drew.
export const begin = async (): Promise<void> => {
  const told = element("drawn-source");
  if (!box()?.dataset.study || !element("drawn-leaves") || !told) return;
  try {
    const { lies } = await recipe(page());
    told.textContent = "Drawn in this page from the recipe’s bytes, whose SHA-256 is the compose hash above.";
    for (const one of document.querySelectorAll("[data-mark=bytes]")) one.replaceWith(Drawn.mark("here", "computed in this page from the recipe’s bytes"));
    if (lies.length) say("The " + teller + " had drawn something else than the recipe’s bytes say in: " + lies.join(", ") + ". What you see now is from the bytes. " + refuse);
  } catch (error) {
    say(messageOf(error));
  }
};
