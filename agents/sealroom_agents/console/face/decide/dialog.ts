// SPDX-License-Identifier: Apache-2.0
// The dialog in which an owner sees an act and hands it to the wallet. Each opening makes a dialog of its own from one act, with
// that act's buttons and nothing of any other; closing it throws it away.
import { hashTypedData, type Hex } from "viem";

import { digest } from "../model/calls.ts";
import * as SafeFile from "../model/safe.ts";
import { type Child, code, make } from "../parts/dom.ts";
import { save } from "../parts/save.ts";
import { messageOf as words } from "../parts/text.ts";
import { chosen, hold, onChange, type Provider } from "../wallets/discovery.ts";
import { switchTo } from "../wallets/network.ts";
import * as Node from "../wallets/node.ts";
import { seat as seatOf, type Seat } from "../wallets/seats.ts";
import { simulate } from "../wallets/simulate.ts";
import * as Actions from "./actions.ts";
import * as Checks from "./checks.ts";
import { choice } from "./choosing.ts";
import { area, button, outcomeLine, readBack, seatLine } from "./drawing.ts";
import { elsewhereLine, isElsewhere, namedChain, switchLabel } from "./elsewhere.ts";
import { mustBeFresh } from "./fresh.ts";
import { happened, pause } from "./mined.ts";
import { revoked } from "./revoked.ts";
import { mustBeOf, normal, signatureFile } from "./signature.ts";
import { disk } from "./teller.ts";

const RELOAD_AFTER_MS = 2500;
const TYPING_MS = 400;
let opened = 0;

/** Wallets report a refusal by a person as code 4001. */
const declined = (error: unknown): boolean => typeof error === "object" && error !== null && "code" in error && error.code === 4001;

/** What was checked, and may be done. */
interface Prepared<T> {
  readonly wanted: T;
  readonly seat: Seat;
  /** Who was asked. */
  readonly wallet: Provider;
}

/** What stands on the dialog's last line of buttons. */
interface Shown {
  readonly connect?: boolean;
  readonly network?: boolean;
  readonly ready?: boolean;
}

/** Open the dialog of an act. */
export const open = <T extends Actions.Target>(action: Actions.Action<T>): void => {
  const id = "sign-" + ++opened;
  const { signing } = action;
  const dialog = make("dialog", action.act);
  const title = make("h2", "", action.title);
  const reason = area(id + "-reason", ["Why ", make("span", "quiet", "(public on chain for ever, at most 256 bytes: name no patient and nobody else)")], 2);
  const wallets = make("div", "");
  const who = make("p", "who");
  const summary = make("div", "what");
  const readback = make("div", "readback");
  const tried = make("p", "tried");
  const facts = make("dl", "facts");
  const checks = make("ul", "checks");
  const problem = make("p", "notice danger");
  const news = make("div", "news");
  const output = area(id + "-signature", ["Your signature"], 6);
  const told = make("p", "notice warn");
  let turn = 0;
  let prepared: Prepared<T> | null = null;
  let pressed = false;
  // Whether a wallet took a transaction: whatever fails before, may be tried again.
  let gone = false;
  let apart = false;
  let shown: Shown = {};
  let signed = "";
  let quit = (): void => {};
  let letGo = (): void => {};

  // --- what is seen -------------------------------------------------------------------------

  const layout = (): void => {
    const safe = prepared?.seat.safe ?? null;
    const can = Boolean(shown.ready && prepared && !pressed);
    connect.hidden = !shown.connect;
    network.hidden = !shown.network || pressed || apart;
    network.textContent = switchLabel();
    for (const one of wallets.querySelectorAll("fieldset")) one.disabled = pressed;
    lead.hidden = apart;
    warning.hidden = !apart;
    toApart.hidden = !signing?.apart || apart || gone;
    toApart.disabled = !can;
    back.hidden = !apart || Boolean(signed);
    sign.hidden = !signing || gone || Boolean(signed) || (signing.apart !== null && !apart);
    sign.textContent = (safe ? signing?.safeLabel : signing?.label) ?? "";
    send.hidden = apart || gone || Boolean(signed);
    send.textContent = safe ? action.fileLabel : action.sendLabel;
    sign.disabled = send.disabled = !can;
    keep.textContent = gone || signed ? "Close" : action.keepLabel;
    keepFile.hidden = !signed;
    handIn.hidden = disk || !signed || !signing?.handsIn || safe !== null;
    dialog.dataset.state = gone ? "sent" : signed ? "signed" : apart ? "apart" : "ask";
  };

  const show = (now: Shown): void => {
    shown = now;
    layout();
  };

  const fail = (error: unknown): void => {
    problem.textContent = declined(error) ? "You declined. Nothing was sent." : words(error);
    problem.hidden = false;
    problem.scrollIntoView({ block: "nearest" });
  };

  const tell = (name: string, ...children: readonly Child[]): void => {
    news.replaceChildren(make("div", name, ...children));
    news.scrollIntoView({ block: "nearest" });
  };

  const forget = (): void => {
    turn += 1;
    prepared = null;
    show({});
  };

  const step = async <V,>(doing: string, work: () => Promise<readonly [said: string, value: V]>): Promise<V> => {
    const line = make("li", "", doing);
    checks.append(line);
    // A button was pressed: what it does must be seen on a small screen too.
    if (pressed) line.scrollIntoView({ block: "nearest" });
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

  // --- before a button ----------------------------------------------------------------------

  const drawBytes = (wanted: T, data: Hex): void => {
    readback.replaceChildren(...readBack(data, wanted));
    facts.replaceChildren(...action.facts(wanted));
  };

  const seatIn = async (wanted: T): Promise<Seat | null> => {
    const owners = await Node.owners(wanted.consortium);
    const accounts = await Node.accounts();
    const [first] = accounts;
    if (!first) return null;
    const found = await seatOf(owners, accounts);
    if (found) return found;
    if (action.byAnyone) return { owner: { account: first, id: "no owner", word: "0x" }, account: first, safe: null };
    throw new Error("None of the accounts that your wallet offers is an owner of this consortium, nor one of the signers of an owner that is a Safe.");
  };

  // Typing goes on while checks run: only the newest turn may enable a button, for the very act that it checked.
  const prepare = async (): Promise<void> => {
    forget();
    const mine = turn;
    const stale = (): boolean => mine !== turn;
    for (const part of [checks, tried, who]) part.replaceChildren();
    problem.hidden = true;
    const focused = wallets.contains(document.activeElement);
    wallets.replaceChildren(...choice(id, () => void prepare()));
    if (focused) wallets.querySelector<HTMLElement>("input:checked")?.focus();
    quit();
    // Not while the wallet still tells its listeners: a new one would be told too.
    quit = onChange(() => queueMicrotask(() => void (pressed || gone || prepare())));
    try {
      if (action.careful) mustBeFresh();
      const wallet = chosen().provider;
      // Stopping takes nothing from the server but the address; the chain is the one that the wallet is on.
      const wanted = await action.wanted(reason.text.value, Node.chain);
      const data = Actions.callOf(action, wanted);
      Actions.guardCall(action, wanted, { to: wanted.consortium, data, value: "0x0" });
      if (stale()) return;
      drawBytes(wanted, data);
      for (const [doing, check] of action.checks) {
        await step(doing, async () => [await check(wanted), undefined]);
        if (stale()) return;
      }
      const drawnNow = await action.summary(wanted);
      if (stale()) return;
      summary.replaceChildren(...drawnNow);
      const seat = await seatIn(wanted);
      if (stale()) return;
      if (!seat) {
        who.replaceChildren("Your wallet shows this page no account yet.");
        return show({ connect: true, network: isElsewhere(wanted.chain) });
      }
      who.replaceChildren(...seatLine(seat));
      const from = seat.safe ? seat.owner.account : seat.account;
      const outcome = await simulate({ from, to: wanted.consortium, data, value: "0x0" }).catch(() => null);
      if (stale()) return;
      const says = outcome?.taken ? await action.outcome(wanted, from) : "";
      if (stale()) return;
      tried.replaceChildren(...outcomeLine(outcome, says), ...elsewhereLine(wanted.chain));
      if (action.careful && outcome && !outcome.taken) throw new Error("The contract would refuse this: " + outcome.why + ".");
      prepared = Object.freeze({ wanted, seat, wallet });
      show({ ready: true, network: isElsewhere(wanted.chain) });
    } catch (error) {
      if (stale()) return;
      fail(error);
      const elsewhere = await Node.chain().then(isElsewhere, () => false);
      if (!stale()) show({ network: elsewhere });
    }
  };

  // --- after a button -----------------------------------------------------------------------

  // A wallet may take as long as its owner likes; who closed the dialog meanwhile has called the act off.
  const stillOpen = (): void => {
    if (!dialog.open) throw new Error("The dialog was closed. Nothing more is asked of the wallet.");
  };

  /** Do what a button says, with what was checked; the button comes back where nothing left. */
  const press = async (work: (mine: Prepared<T>) => Promise<void>): Promise<void> => {
    const mine = prepared;
    if (!mine || pressed) return;
    pressed = reason.text.disabled = true;
    problem.hidden = true;
    layout();
    try {
      letGo = hold(mine.wallet);
      if (action.careful) mustBeFresh();
      await work(mine);
    } catch (error) {
      fail(error);
      if (!gone && !signed) pressed = reason.text.disabled = false;
    }
    letGo();
    layout();
  };

  // Who acts, on the chain that was shown: asked again, for a wallet may have changed both meanwhile.
  const asBefore = ({ wanted, seat }: Omit<Prepared<T>, "wallet">): Promise<void> =>
    step("Waiting for the wallet", async () => {
      if (!(await Node.connect()).includes(seat.account)) throw new Error("Your wallet offers another account now. Close this dialog, and open it anew.");
      await Checks.chain(wanted);
      return ["Asked of your wallet: account " + seat.account + ", on chain " + wanted.chain + ".", undefined];
    });

  const onFile = ({ wanted, seat }: Prepared<T>): void => {
    const call = SafeFile.callOf(wanted.consortium, Actions.callOf(action, wanted));
    const text = SafeFile.file(call, { chain: wanted.chain, safe: seat.owner.account, name: action.fileName, created: Date.now() });
    Actions.guardFile(action, wanted, text);
    save(action.act + ".safe.json", text);
    pressed = reason.text.disabled = false;
    tell("notice warn", make("strong", "", "Nothing is sent."), " Load the file in your Safe’s transaction builder, compare, and let its owners sign and execute it. Nothing counts before.");
  };

  const onSend = async ({ wanted, seat }: Prepared<T>): Promise<void> => {
    await asBefore({ wanted, seat });
    // A revocation goes out even where the node does not say: only the word that it happened is not said then.
    const before = await Node.moment(wanted.consortium).catch((error: unknown) => (action.careful ? Promise.reject(error) : null));
    const tx = await step("Waiting for your signature in the wallet", async () => {
      const call = { from: seat.account, to: wanted.consortium, data: Actions.callOf(action, wanted), value: "0x0" } as const;
      const gas = await Node.gas(call);
      stillOpen();
      // With the chain, so that a wallet which went to another one refuses.
      const chainId = "0x" + BigInt(wanted.chain).toString(16);
      Actions.guardCall(action, wanted, call);
      const sent = await Node.send({ ...call, ...gas, chainId });
      gone = true;
      return ["Sent as " + sent + ". " + action.sent, sent];
    });
    layout();
    if (action.stays) tell("notice warn", make("strong", "", action.sent), " Your transaction is on its way. Closing this dialog does not call it back, nor hurry it.");
    const block = await step("Waiting for the block", async () => {
      const found = await happened(tx, before, (log) => log.address.toLowerCase() === wanted.consortium && action.happened(log, wanted, seat.owner.account, before));
      return [action.done + " in block " + String(found) + " of chain " + wanted.chain + ", by your wallet’s node.", found];
    });
    if (action.stays) {
      keep.addEventListener("click", () => window.location.reload());
      tell("notice", ...revoked(seat.owner, block, disk ? null : () => (dialog.open ? (action.seen?.(wanted, seat.owner) ?? null) : null)));
    } else {
      tell("notice calm", make("strong", "", action.done + " in block " + String(block) + "."), " The page shows what holds now in a moment.");
      await pause(RELOAD_AFTER_MS);
      // Not from under another dialog.
      if (dialog.open || !document.querySelector("dialog")) window.location.reload();
    }
  };

  // A message that anyone may hand in: nothing is sent from here.
  const onSign = async ({ wanted, seat }: Prepared<T>): Promise<void> => {
    if (!signing) return;
    await asBefore({ wanted, seat });
    const owner = seat.owner.account;
    const returns = signing.asksReturns ? await Node.returns(wanted.consortium, owner) : "";
    const data = Actions.messageOf(action, wanted, owner, returns);
    const text = JSON.stringify(data);
    Actions.guardMessage(action, wanted, owner, returns, text);
    const asked = seat.safe ? SafeFile.safeMessage(wanted.chain, owner, digest(data)) : null;
    const hashOf = asked ? hashTypedData(asked as never) : digest(data);
    const signature = await step("Waiting for your signature in the wallet", async () => {
      stillOpen();
      const given = normal(await Node.sign(seat.account, asked ? JSON.stringify(asked) : text));
      await mustBeOf(seat, hashOf, given);
      return ["Signed by " + seat.account + ", recovered in this page; nothing was sent.", given];
    });
    signed = signature;
    output.text.value = signatureFile(data, seat, action.proposal(wanted), signature);
    // A Safe’s signature is one of several, which no console puts together.
    const pass = !signing.handsIn ? "" : disk || seat.safe ? "Pass this file to " : "Leave it at this console, or pass this file to ";
    told.replaceChildren(signing.signed + " " + pass, code(action.command(wanted)));
    actions.before(told, output.box);
    output.text.select();
    told.scrollIntoView({ block: "start" });
  };

  const onHandIn = async (): Promise<void> => {
    const mine = prepared;
    if (!mine) return;
    handIn.disabled = true;
    try {
      const body = JSON.stringify({ study: action.proposal(mine.wanted), owner: mine.seat.owner.account, signature: signed });
      const answer = await fetch(`/v1/studies/${mine.wanted.consortium}/signatures`, { method: "POST", headers: { "Content-Type": "application/json" }, body, credentials: "omit", redirect: "error" });
      const found = await answer.json();
      if (!answer.ok) throw new Error("The console did not take it: " + String(found.detail ?? answer.status));
      told.hidden = true;
      tell("notice calm", "Your signature lies at this console. It counts once somebody hands it in, by a transaction: reload the page to see who signed.");
    } catch (error) {
      handIn.disabled = false;
      fail(error);
    }
  };

  const onNetwork = async (): Promise<void> => {
    try {
      await switchTo(namedChain());
      await prepare();
    } catch (error) {
      fail(error);
    }
  };

  const onConnect = async (): Promise<void> => {
    try {
      await Node.connect();
      await prepare();
    } catch (error) {
      fail(error);
    }
  };

  const turnTo = (screen: boolean): void => {
    apart = screen;
    layout();
  };

  // --- its parts ----------------------------------------------------------------------------

  const lead = make("div", "lead-in", ...action.lead().map((one) => (typeof one === "string" ? make("span", "", one) : one)));
  const warning = make("p", "notice danger", make("strong", "", signing?.apart?.warning ?? ""));
  const keep = button("", action.keepLabel, () => dialog.close());
  const toApart = button("link", signing?.apart?.label ?? "", () => turnTo(true));
  const back = button("", signing?.apart?.back ?? "", () => turnTo(false));
  const connect = button("primary", "Connect the wallet", () => void onConnect());
  const network = button("primary", "", () => void onNetwork());
  const sign = button("", "", () => void press(onSign));
  const send = button(action.tone, "", () => void press(async (mine) => (mine.seat.safe ? onFile(mine) : onSend(mine))));
  const keepFile = button("", "Save the signature", () => save("signature.json", output.text.value));
  const handIn = button("primary", "Leave it at this console", () => void onHandIn());
  const actions = make("div", "row", keep, toApart, back, connect, network, sign, send, keepFile, handIn);
  const bytes = make("details", "", make("summary", "", "What exactly is asked of your wallet"), facts);
  const whose = make("p", "quiet", "This page’s script makes these checks, and came from this " + (disk ? "file: sealroom decide --check says whether it is the release’s. " : "console. ") + "For a second opinion, read the recipe on another machine with ", code("sealroom recipe --check app-compose.json"), ".");

  title.id = id;
  dialog.setAttribute("aria-labelledby", id);
  for (const live of [checks, news]) live.setAttribute("aria-live", "polite");
  problem.setAttribute("role", "alert");
  problem.hidden = true;
  output.text.readOnly = true;
  reason.text.maxLength = 256;
  dialog.append(title, lead, warning);
  if (action.asksReason) dialog.append(reason.box);
  dialog.append(wallets, who, summary, readback, tried, bytes, checks, problem, news);
  if (action.checks.length) dialog.append(whose);
  dialog.append(actions);
  document.body.append(dialog);

  let typing: ReturnType<typeof setTimeout> | undefined;
  reason.text.addEventListener("input", () => {
    forget();
    clearTimeout(typing);
    if (reason.text.value.trim()) typing = setTimeout(prepare, TYPING_MS);
  });
  dialog.addEventListener("close", () => {
    forget();
    quit();
    letGo();
    clearTimeout(typing);
    dialog.remove();
  });
  forget();
  dialog.showModal();
  if (action.asksReason) reason.text.focus();
  else void prepare();
};
