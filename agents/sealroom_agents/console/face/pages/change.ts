// SPDX-License-Identifier: Apache-2.0
// The page of changes: a recipe is handed in from its file, and a change is checked, signed and followed by the wallet. All
// of it works without this script by the command line.
import type { Hex } from "viem";

import { choice } from "../decide/choosing.ts";
import { mustBeFresh } from "../decide/fresh.ts";
import { happened } from "../decide/mined.ts";
import type { Act, Ready, Wanted } from "../govern/act.ts";
import { agreed } from "../govern/agreed.ts";
import * as Adopting from "../govern/adopting.ts";
import * as Books from "../govern/books.ts";
import * as Checks from "../govern/checks.ts";
import { guarded, safeFile } from "../govern/safes.ts";
import { comparing, type Judged } from "../govern/dropped.ts";
import * as Registering from "../govern/registering.ts";
import * as Seats from "../govern/seats.ts";
import { isAddress, isHash } from "../model/calls.ts";
import { consortiumOf } from "../parts/address_bar.ts";
import { code, fact, make } from "../parts/dom.ts";
import { save } from "../parts/save.ts";
import { messageOf } from "../parts/text.ts";
import { SAY } from "../words/change.ts";
import { sha256 } from "../base/hashes.ts";
import { chosen, hold, onChange, type Provider } from "../wallets/discovery.ts";
import * as Node from "../wallets/node.ts";

const one = <T extends HTMLElement>(selector: string, within: ParentNode = document): T | null => within.querySelector<T>(selector);

// --- a recipe from its file -----------------------------------------------------------------------

const upload = async (form: HTMLFormElement, file: File, newest: () => boolean): Promise<void> => {
  const bytes = await file.arrayBuffer();
  const name = sha256(new Uint8Array(bytes));
  const answer = await fetch("/v1/recipes/" + name, { method: "PUT", headers: { "Content-Type": "application/json" }, body: bytes, credentials: "omit", redirect: "error" });
  if (!answer.ok) {
    const problem = (await answer.json()) as { detail?: string; hint?: string | null; code?: string };
    throw new Error([problem.detail, problem.hint, problem.code].filter(Boolean).join(" · "));
  }
  const field = one<HTMLInputElement>("input[name=recipe]", form);
  // Only the file that was picked last counts, whichever is taken first.
  if (field && newest()) field.value = name;
};

const study = one<HTMLFormElement>("form[data-study]");
const picker = one<HTMLInputElement>("[data-upload]");
const refused = one("[data-upload-problem]");
if (study && picker && refused) {
  const label = one("[data-file]", study);
  if (label) label.hidden = false;
  picker.addEventListener("change", () => {
    const [file] = picker.files ?? [];
    refused.hidden = true;
    picker.removeAttribute("aria-invalid");
    if (!file) return;
    const newest = (): boolean => picker.files?.[0] === file;
    upload(study, file, newest).catch((error: unknown) => {
      if (!newest()) return;
      refused.textContent = SAY.noRecipe(messageOf(error));
      refused.hidden = false;
      picker.setAttribute("aria-invalid", "true");
    });
  });
}

// --- a change -------------------------------------------------------------------------------------

const read = (data: Hex, kind: string): Act => {
  const family = [Seats, Books, Registering].find((one) => one.KINDS.includes(kind));
  return family ? family.read(data) : agreed(data, kind);
};

/** What stands beside the buttons once it is mined. What proposes would propose anew where its page is reloaded, and a proposal
 * that took effect has a page of its own. */
const afterwards = (consortium: Hex, { kind, proposal }: Act): readonly (string | HTMLElement)[] => {
  if (!proposal) return [SAY.done];
  const link = make("a", "", SAY.whatBecame);
  link.href = "/studies/" + consortium + (kind === "study" ? "?study=" : "/change?proposal=") + proposal;
  return [SAY.voted, " ", link];
};

for (const [selector, { fill }] of [["form[data-registration]", Registering], ["form[data-platform]", Adopting]] as const) {
  const form = one<HTMLFormElement>(selector);
  if (form) fill(form);
}

/** What is said of a call as it stands to the files that were dropped. */
type Told = Readonly<Record<Judged, string>>;

const OF_FILE: Told = { none: SAY.readBack, reading: SAY.reading, same: SAY.fits, other: SAY.other, open: SAY.other };
const OF_GATE: Told = { none: SAY.readBack, reading: SAY.reading, same: SAY.fitsGate, other: SAY.otherGate, open: SAY.openGate };

/** Holds the call against the files that are dropped; `judged` is told how it stands to them, and what is said of that. */
const held = (box: HTMLElement, act: Act, judged: (stands: Judged, says: string) => void): void => {
  const sealed = "holds" in act ? Registering.place(box) : null;
  const gate = "adopts" in act ? Adopting.place(box) : null;
  if (sealed) comparing(sealed, (file) => (act as Registering.Registers).holds(file), (stands) => judged(stands, OF_FILE[stands]));
  if (gate) comparing(gate, (files) => (act as Adopting.Adopts).adopts(files), (stands) => judged(stands, OF_GATE[stands]));
};

/** A call that was checked, and the wallet that was asked. */
interface Prepared {
  readonly call: Ready;
  readonly wallet: Provider;
  /** Whether it is a Safe's: its owners send it, from a file. */
  readonly isSafe: boolean;
}

const begin = (box: HTMLElement): void => {
  const send = one<HTMLButtonElement>("[data-send]", box);
  const check = one<HTMLButtonElement>("[data-check]", box);
  const list = one("[data-checks]", box);
  const problem = one("[data-problem]", box);
  const why = one("[data-why]", box);
  const readback = one("[data-readback]", box);
  const wallets = one("[data-wallets]", box);
  const safe = one<HTMLButtonElement>("[data-safe]", box);
  if (!send || !safe || !check || !list || !problem || !why || !readback || !wallets) return;
  let ready: Prepared | null = null;
  let turn = 0;
  // Why a file that was dropped keeps the call from the wallet.
  let amiss: string | null = null;
  // Whether the call adopts a gate whose files were not seen.
  let unseen = false;
  let pressed = false;
  let quit = (): void => {};

  const fail = (error: unknown): void => {
    const declined = typeof error === "object" && error !== null && "code" in error && error.code === 4001;
    problem.textContent = declined ? SAY.declined : messageOf(error);
    problem.hidden = false;
    why.textContent = SAY.notSent;
  };

  const step = async <T>(doing: string, work: () => Promise<readonly [string, T]> | readonly [string, T]): Promise<T> => {
    const line = make("li", "", doing);
    list.append(line);
    try {
      const [said, value] = await work();
      line.textContent = said;
      line.className = "ok";
      return value;
    } catch (error) {
      line.className = "bad";
      throw error;
    }
  };

  const { chain = "", consortium = "", to = "", data = "", change = "", proposal = "" } = box.dataset;
  let act: Act;
  let wanted: Wanted;
  try {
    if (consortiumOf("/change") !== consortium || !isAddress(consortium) || !isAddress(to)) throw new Error(SAY.elsewhere);
    act = read(data as Hex, change);
    if (act.kind !== change) throw new Error(SAY.otherChange);
    if (act.proposal && isHash(proposal) && act.proposal !== proposal) throw new Error(SAY.otherProposal);
    wanted = Object.freeze({ chain, consortium, to, data: data as Hex });
  } catch (error) {
    fail(error);
    return;
  }
  readback.replaceChildren(...act.rows.map(([what, value]) => fact(what, ...value.split("\n").flatMap((line, index) => [...(index ? [make("br", "")] : []), line.startsWith("0x") ? code(line) : line]))));
  readback.hidden = check.hidden = false;
  unseen = "adopts" in act;
  held(box, act, (stands, says) => {
    unseen = "adopts" in act && stands !== "same";
    amiss = stands === "same" || stands === "none" ? null : says;
    // What was checked was checked without this file.
    turn += 1;
    ready = null;
    send.disabled = safe.hidden = true;
    check.disabled = pressed;
    if (!pressed) why.textContent = says;
  });
  why.textContent = SAY.readBack;

  const prepare = async (): Promise<void> => {
    send.disabled = check.disabled = safe.hidden = true;
    send.hidden = false;
    ready = null;
    const mine = ++turn;
    list.replaceChildren();
    wallets.replaceChildren(...choice("wallet", () => void prepare()));
    problem.hidden = true;
    quit();
    // Another account or chain: all of it anew. Not while the wallet still tells its listeners.
    quit = onChange(() => queueMicrotask(() => void (pressed || prepare())));
    try {
      mustBeFresh();
      if (amiss !== null) throw new Error(amiss);
      const wallet = chosen().provider;
      await step(SAY.comparing, () => [act.typed(new URLSearchParams(window.location.search)), null]);
      await step(SAY.asksWhere, async () => [await Checks.place(wanted, act.ofLedger), null]);
      for (const { doing, check } of act.checks) await step(doing, async () => [await check(wanted), null]);
      const { owner, safe: ofSafe } = await step(SAY.asksWho, async () => Checks.actor(await act.actors(wanted)));
      const call = Object.freeze({ from: owner.account, to: wanted.to, data: wanted.data, value: "0x0" } as const);
      await step(SAY.tries, async () => [await Checks.tried(call), null]);
      // Another wallet may have been chosen meanwhile: only the newest turn counts.
      if (mine !== turn) return;
      const isSafe = ofSafe !== null;
      ready = Object.freeze({ call, wallet, isSafe });
      send.hidden = send.disabled = isSafe;
      safe.hidden = !isSafe;
      why.textContent = (isSafe ? SAY.holdsSafe : SAY.holds) + (unseen ? " " + SAY.unseen : "");
    } catch (error) {
      if (mine === turn) fail(error);
    }
    if (mine === turn) check.disabled = false;
  };

  const keep = (): void => {
    if (!ready?.isSafe) return;
    try {
      const text = safeFile(wanted, ready.call.from, change);
      guarded(wanted, text);
      save(change + ".safe.json", text);
      why.textContent = SAY.saved;
    } catch (error) {
      fail(error);
    }
  };

  const go = async (): Promise<void> => {
    if (!ready || ready.isSafe) return;
    const { call, wallet } = ready;
    ready = null;
    pressed = send.disabled = check.disabled = true;
    for (const one of wallets.querySelectorAll("fieldset")) one.disabled = true;
    let letGo = (): void => {};
    let sent = false;
    try {
      letGo = hold(wallet);
      mustBeFresh();
      const before = await Node.moment(wanted.consortium);
      const tx = await step(SAY.signing, async () => {
        if ((await Node.chain()) !== wanted.chain) throw new Error(SAY.otherChain);
        if (!(await Node.accounts()).includes(call.from)) throw new Error(SAY.otherAccount);
        const hash = await Node.send({ ...call, ...(await Node.gas(call)), chainId: "0x" + BigInt(wanted.chain).toString(16) });
        sent = true;
        return [SAY.sent(hash), hash];
      });
      await step(SAY.mining, async () => {
        const block = await happened(tx, before, (log) => (act.toldElsewhere || log.address.toLowerCase() === call.to) && act.shows(log, call.from));
        return [SAY.mined(block), null];
      });
      why.replaceChildren(...afterwards(wanted.consortium, act));
    } catch (error) {
      fail(error);
      // Where nothing was sent, it may be checked and pressed again.
      if (!sent) pressed = check.disabled = false;
    }
    letGo();
  };

  check.addEventListener("click", () => void prepare());
  send.addEventListener("click", () => void go());
  safe.addEventListener("click", keep);
};

const box = one("[data-change]");
if (box) begin(box);
