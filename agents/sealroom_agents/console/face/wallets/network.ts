// SPDX-License-Identifier: Apache-2.0
// A wallet that is on another chain is offered the right one. A chain that it does not know can be added where this page knows
// it by itself: a node that the server names would be the server's eyes.
import { ask } from "./node.ts";

interface Chain {
  readonly name: string;
  /** Its operator's own node and explorer. */
  readonly node: string;
  readonly explorer: string;
}

const known: Readonly<Record<string, Chain>> = {
  "8453": { name: "Base", node: "https://mainnet.base.org", explorer: "https://basescan.org" },
  "84532": { name: "Base Sepolia", node: "https://sepolia.base.org", explorer: "https://sepolia.basescan.org" },
};
const ether = { name: "Ether", symbol: "ETH", decimals: 18 };
const UNKNOWN = 4902;

const codeOf = (error: unknown): unknown => (typeof error === "object" && error !== null && "code" in error ? error.code : null);

/** The name of a chain, where this page knows it. */
export const chainName = (chain: string): string => known[chain]?.name ?? "chain " + chain;

/** Ask the wallet to go to a chain; one that it does not know it is asked to add. */
export const switchTo = async (chain: string): Promise<void> => {
  const chainId = "0x" + BigInt(chain).toString(16);
  const change = (): Promise<unknown> => ask("wallet_switchEthereumChain", { chainId });
  try {
    await change();
  } catch (error) {
    if (codeOf(error) !== UNKNOWN) throw error;
    const one = known[chain];
    if (!one) throw new Error("Your wallet does not know chain " + chain + ", nor does this page. Add it in the wallet, with a node that you trust.");
    await ask("wallet_addEthereumChain", { chainId, chainName: one.name, nativeCurrency: ether, rpcUrls: [one.node], blockExplorerUrls: [one.explorer] });
    await change();
  }
};
