// SPDX-License-Identifier: Apache-2.0
// Where the wallet and the page name different chains: the same consortium can stand on both, and an act counts on one.
import { make } from "../parts/dom.ts";
import { chainName } from "../wallets/network.ts";

/** The chain that the page names: where a wallet may be sent, and no more. */
export const namedChain = (): string => document.querySelector<HTMLElement>(".actions")?.dataset.chain ?? "";

/** Whether it names one, and the wallet is elsewhere. */
export const isElsewhere = (chain: string): boolean => /^[0-9]{1,15}$/.test(namedChain()) && chain !== namedChain();

/** What is loud then. */
export const elsewhereLine = (chain: string): readonly HTMLElement[] => {
  if (chain === namedChain()) return [];
  const text = "Your wallet is on " + chainName(chain) + "; this page is about " + chainName(namedChain()) + ". What you send counts on your wallet’s chain alone. Switch the wallet first, unless you know that this page is wrong.";
  return [make("p", "notice danger", text)];
};

/** The button that asks the wallet to go there. */
export const switchLabel = (): string => "Switch the wallet to " + chainName(namedChain());
