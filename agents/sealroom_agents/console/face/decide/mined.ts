// SPDX-License-Identifier: Apache-2.0
// What the chain says of a transaction that was sent: it happened only where the receipt of this very transaction says so.
import type { Log, Moment, Receipt } from "../wallets/node.ts";
import * as Node from "../wallets/node.ts";

const POLL_MS = 500;
const WITHIN_MS = 120000;

export const pause = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));

const receiptOf = async (tx: string): Promise<Receipt> => {
  const until = Date.now() + WITHIN_MS;
  while (Date.now() < until) {
    // A node that does not answer this time may answer the next.
    const receipt = await Node.receipt(tx).catch(() => null);
    if (receipt) return receipt;
    await pause(POLL_MS);
  }
  throw new Error("Not in a block yet: " + tx + ". It may still come. Look at the chain, and reload the page later.");
};

/** The block in which it happened, by a log that `shows` it, later than `before`. Throws where the receipt does not show that it
 * did, and where nothing is known of before: an older receipt could not be told from this one. */
export const happened = async (tx: string, before: Moment | null, shows: (log: Log) => boolean): Promise<bigint> => {
  const receipt = await receiptOf(tx);
  if (String(receipt.transactionHash).toLowerCase() !== tx.toLowerCase()) throw new Error("Your wallet’s node answered with the receipt of another transaction than " + tx + ". Look at the chain.");
  if (BigInt(receipt.status) !== 1n) throw new Error("The contract refused the transaction " + tx + ".");
  if (!before) throw new Error("The transaction " + tx + " is in a block, by your wallet’s node. It did not say before where the chain stood, so this page cannot tell whether that is the one just sent. Look at the chain.");
  const block = BigInt(receipt.blockNumber);
  if (!receipt.logs.some(shows) || block <= before.block) throw new Error("The transaction " + tx + " is in a block, but does not show that this happened. Look at the chain.");
  return block;
};
