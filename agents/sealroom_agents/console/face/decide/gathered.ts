// SPDX-License-Identifier: Apache-2.0
// Signatures that owners handed in at this console: each of a key is recovered in this page before it is shown as one. Whose account
// that is, and whether an owner's contract takes its own, the wallet's node says; without a wallet the server's word, which says so.
import { isAddress, studyId } from "../model/calls.ts";
import { hash, make } from "../parts/dom.ts";
import { visible } from "../parts/text.ts";
import * as Node from "../wallets/node.ts";
import { type Handed, said, submit } from "./acts/submit.ts";
import { open } from "./dialog.ts";
import * as Reading from "./reading.ts";
import { approvalDigest, normal, signer } from "./signature.ts";

const MOST = 64;

interface Told {
  readonly owner?: unknown;
  readonly account?: unknown;
  readonly signature?: unknown;
  readonly by?: unknown;
}

const box = (): HTMLElement | null => document.getElementById("gathered");

const asked = async (): Promise<readonly Told[]> => {
  const { consortium, study } = Reading.page();
  const answer = await fetch(`/v1/studies/${consortium}/proposals/${study}/signatures`, { credentials: "omit", redirect: "error", cache: "no-store" });
  const { signatures } = answer.ok ? ((await answer.json()) as { readonly signatures?: readonly Told[] }) : {};
  return Array.isArray(signatures) ? signatures.slice(0, MOST) : [];
};

/** A signature with the name that the server gives its owner. */
interface Good extends Handed {
  readonly name: string;
}

const checked = (one: Told): Good | null => {
  const place = Reading.page();
  const { account } = one;
  if (!isAddress(account)) return null;
  try {
    const signature = normal(String(one.signature));
    const held = { owner: account, signature, name: visible(String(one.owner)) };
    if (signer(approvalDigest(account, place.content, place), signature) === account) return { ...held, contract: false };
    return one.by === "contract" ? { ...held, contract: true } : null;
  } catch {
    return null;
  }
};

/** Owners by their accounts, where a wallet is there on the chain that the page names; else null. */
const named = async (): Promise<ReadonlyMap<string, string> | null> => {
  const { consortium, chain } = Reading.page();
  try {
    if ((await Node.chain()) !== chain) return null;
    return new Map((await Node.owners(consortium)).map((one) => [one.account, visible(one.id)]));
  } catch {
    return null;
  }
};

/** What leaves a contract's signature out: it may say yes to a question, and refuse the transaction that hands in everybody's. */
const choice = (one: Good, chosen: Set<Good>, changed: () => void): readonly HTMLElement[] => {
  if (!one.contract) return [];
  const box = make("input", "");
  Object.assign(box, { type: "checkbox", checked: true });
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(one);
    else chosen.delete(one);
    changed();
  });
  return [make("label", "", box, " hand it in; where the transaction is refused, leave it out")];
};

const line = (one: Good, owners: ReadonlyMap<string, string> | null, more: readonly HTMLElement[]): HTMLElement => {
  const name = owners ? make("span", "mark chain", (owners.get(one.owner) ?? "") + ", by your wallet’s node") : make("span", "mark said", one.name + ", by the server’s word");
  return make("li", "", hash(one.owner), " ", said(one), " ", name, ...more.flatMap((each) => [" ", each]));
};

/** Show what was handed in, and offer to submit it. */
export const begin = async (): Promise<void> => {
  const into = box();
  const { content, study } = Reading.page();
  // What has another id than its content, the reading of the page says; nothing is gathered for it.
  if (!into || studyId(content) !== study) return;
  const told = await asked().catch(() => []);
  const owners = await named();
  const good = new Map<string, Good>();
  // What is recovered here goes before what the server says that a contract takes.
  const found = told.map(checked).filter((one) => one !== null).sort((a, b) => Number(a.contract) - Number(b.contract));
  for (const one of found) if (!good.has(one.owner) && (!owners || owners.has(one.owner))) good.set(one.owner, one);
  const sorted = [...good.values()].sort((a, b) => (a.owner < b.owner ? -1 : 1));
  const chosen = new Set(sorted);
  const press = make("button", "primary", "");
  const count = (): void => {
    press.textContent = `Hand in ${chosen.size} signature${chosen.size === 1 ? "" : "s"}…`;
    press.disabled = !chosen.size;
  };
  count();
  const lines = sorted.map((one) => line(one, owners, choice(one, chosen, count)));
  const bad = told.length - sorted.length;
  if (bad) lines.push(make("li", "", make("span", "mark broken", `${bad} that the server shows ${bad === 1 ? "is" : "are"} not of this study by an owner, or there twice, and left out`)));
  press.type = "button";
  press.dataset.action = "submit";
  press.addEventListener("click", () => open(submit(sorted.filter((one) => chosen.has(one)))));
  into.replaceChildren(make("h3", "", "Signed, and not on chain yet"), make("ul", "", ...lines), ...(sorted.length ? [press] : []));
  into.hidden = !told.length;
};
