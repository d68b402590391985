// SPDX-License-Identifier: Apache-2.0
// The form of “Needs you”: a wallet may fill in the account. Nothing is stored, and nothing is signed.
import { choice } from "../decide/choosing.ts";
import { messageOf } from "../parts/text.ts";
import * as Node from "../wallets/node.ts";

const form = document.querySelector<HTMLFormElement>("form[data-account]");
const field = form?.querySelector<HTMLInputElement>("input[name=account]");
const ask = form?.querySelector<HTMLButtonElement>("[data-ask]");
const wallets = document.querySelector<HTMLElement>("[data-wallets]");
const problem = document.querySelector<HTMLElement>("[data-problem]");

const fill = async (): Promise<void> => {
  if (!form || !field || !problem) return;
  wallets?.replaceChildren(...choice("wallet", () => void fill()));
  problem.hidden = true;
  try {
    const [first] = await Node.connect();
    if (!first) throw new Error("Your wallet offers no account.");
    field.value = first;
    form.requestSubmit();
  } catch (error) {
    problem.textContent = messageOf(error);
    problem.hidden = false;
  }
};

if (ask) {
  // Until here the button would have done nothing.
  ask.hidden = false;
  ask.addEventListener("click", () => void fill());
}
