// SPDX-License-Identifier: Apache-2.0
// In a page from disk, for whom no wallet enters it: the call, read back from its bytes, as a file for a Safe or for any other
// wallet, and the commands that do the same on a machine with a node. Only what the file's own bytes prove is checked here.
import type { Hex } from "viem";

import { isAddress } from "../model/calls.ts";
import * as SafeFile from "../model/safe.ts";
import { code, make } from "../parts/dom.ts";
import { save } from "../parts/save.ts";
import { messageOf, visible } from "../parts/text.ts";
import { approve } from "./acts/approve.ts";
import { callOf, guardCall, guardFile } from "./actions.ts";
import * as Checks from "./checks.ts";
import { button, readBack } from "./drawing.ts";
import * as Reading from "./reading.ts";
import type { Wanted } from "./reading.ts";

const OWN: readonly Checks.Check[] = [Checks.bytes, Checks.study, Checks.server];

const owners = (): readonly (readonly [account: Hex, name: string])[] =>
  [...document.querySelectorAll<HTMLElement>("tr[data-owner]")].flatMap((row) => {
    const { owner } = row.dataset;
    return isAddress(owner) ? [[owner, row.querySelector("[data-cell=name]")?.textContent ?? ""] as const] : [];
  });

const commands = ({ study, consortium }: Wanted): HTMLElement =>
  make(
    "ul",
    "plain commands",
    ...[
      ["The same twelve words, from a node of your own:", "sealroom approval " + study + " --rpc URL --expect study.json"],
      ["Approve with a key file, everything compared first:", "sealroom govern approve " + study + " --consortium " + consortium + " --recipe app-compose.json --rpc URL --keystore owner.json"],
      ["The same for a Safe:", "sealroom govern approve " + study + " --consortium " + consortium + " --recipe app-compose.json --rpc URL --owner 0x… --safe approve.safe.json"],
    ].map(([about = "", text = ""]) => make("li", "", about, " ", code(text, "wrap"))),
  );

// The file of the Safe that holds a seat: which one, the reader says.
const safeFile = (wanted: Wanted, told: HTMLElement): HTMLElement => {
  const choice = make("select", "");
  choice.id = "without-owner";
  choice.append(...owners().map(([account, name]) => Object.assign(make("option", "", visible(name) + " " + account), { value: account })));
  const label = make("label", "", "The Safe that is an owner");
  label.htmlFor = choice.id;
  const press = button("", "Approve: get the Safe file", () => {
    try {
      const action = approve();
      const text = SafeFile.file(SafeFile.callOf(wanted.consortium, callOf(action, wanted)), { chain: wanted.chain, safe: choice.value as Hex, name: action.fileName, created: Date.now() });
      guardFile(action, wanted, text);
      save("approve.safe.json", text);
      told.textContent = "Nothing is sent. Load the file in your Safe’s transaction builder, compare the twelve words, and let its owners sign and execute it.";
    } catch (error) {
      told.textContent = messageOf(error);
    }
  });
  return make("div", "row", label, choice, press);
};

/** Draw it, where the page has a place for it. */
export const begin = async (): Promise<void> => {
  const box = document.getElementById("drawn-without");
  if (!box) return;
  try {
    const wanted = Reading.page();
    const proofs = await Promise.all(OWN.map((check) => check(wanted)));
    const action = approve();
    const data = callOf(action, wanted);
    guardCall(action, wanted, { to: wanted.consortium, data, value: "0x0" });
    const told = make("p", "quiet");
    told.setAttribute("role", "status");
    const call = make("details", "", make("summary", "", "The call data, for any other wallet"), make("p", "", "To ", code(wanted.consortium, "wrap"), ", without ether:"), make("p", "", code(data, "wrap calldata")));
    box.replaceChildren(...readBack(data, wanted), make("ul", "checks", ...proofs.map((proof) => make("li", "ok", proof))), safeFile(wanted, told), told, call, commands(wanted));
  } catch (error) {
    box.replaceChildren(make("p", "notice danger", visible(messageOf(error))));
  }
};
