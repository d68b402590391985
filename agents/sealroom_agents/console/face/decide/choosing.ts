// SPDX-License-Identifier: Apache-2.0
// The wallets to choose from, in a dialog. Name and picture are a wallet's own word, and stand beside its id.
import { code, make } from "../parts/dom.ts";
import { choose, taken, wallets, type Wallet } from "../wallets/discovery.ts";

const picture = (icon: string): HTMLImageElement => {
  const made = make("img", "");
  Object.assign(made, { src: icon, alt: "", width: 24, height: 24 });
  return made;
};

const named = ({ icon, name, rdns }: Wallet): (Node | string)[] => [...(icon ? [picture(icon)] : []), make("strong", "", name), " ", ...(rdns ? [code(rdns)] : [])];

const row = (one: Wallet, group: string, onChoice: () => void): HTMLElement => {
  const radio = make("input", "");
  Object.assign(radio, { type: "radio", name: group, value: one.uuid, checked: taken()?.uuid === one.uuid });
  radio.addEventListener("change", () => {
    choose(one.uuid);
    onChoice();
  });
  const warning = one.doubled ? [make("span", "doubled", "Another wallet here has the same id: at most one of them is what it says. Look into your browser’s list of extensions.")] : [];
  return make("label", "way", radio, make("span", "", ...named(one)), ...warning);
};

/** What a dialog shows of them: nothing where there is none, a line for one, a choice among several. */
export const choice = (group: string, onChoice: () => void): readonly Node[] => {
  const [only, ...others] = wallets();
  if (!only) return [];
  const word = "Name, picture and id are the wallet’s own word.";
  if (!others.length) return [make("p", "wallet", ...named(only), " ", make("span", "quiet", word))];
  const rows = wallets().map((one) => row(one, group, onChoice));
  return [make("fieldset", "wallets", make("legend", "", "Wallets that answered here"), ...rows, make("p", "quiet", word))];
};
