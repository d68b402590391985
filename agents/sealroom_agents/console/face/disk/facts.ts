// SPDX-License-Identifier: Apache-2.0
// What a page from disk holds beside what is drawn: recipes and the call that its maker's program built. Nothing is believed
// before it is checked.
import { type Hex } from "viem";

interface Facts {
  readonly recipes?: readonly { readonly composeHash?: unknown; readonly bytes?: unknown }[];
  readonly call?: unknown;
  readonly facts?: { readonly view?: { readonly block_number?: unknown } };
}

const facts = (): Facts => JSON.parse(document.getElementById("facts")?.textContent ?? "{}") as Facts;

/** The bytes that the file names by this hash; null where it has none. */
export const bytes = (composeHash: Hex): ArrayBuffer | null => {
  const found = facts().recipes?.find((one) => one.composeHash === composeHash);
  if (!found) return null;
  const text = atob(String(found.bytes));
  return Uint8Array.from(text, (one) => one.charCodeAt(0)).buffer;
};

/** The call that approves the study, as the maker's program built it. */
export const call = (): string => String(facts().call);

/** The block at which its maker read the chain. */
export const block = (): bigint => BigInt(String(facts().facts?.view?.block_number));
