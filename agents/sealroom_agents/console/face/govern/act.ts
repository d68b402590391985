// SPDX-License-Identifier: Apache-2.0
// One change as the page handles it, whatever it changes: read from its bytes, compared with the address bar, asked about at the
// wallet's own node, and known again in the receipt.
import type { Hex } from "viem";

import type { Log } from "../wallets/node.ts";
import type { Row } from "./deed.ts";

/** What the server names: nothing of it is believed before it is checked. */
export interface Wanted {
  readonly chain: string;
  readonly consortium: Hex;
  readonly to: Hex;
  readonly data: Hex;
}

/** A call that was checked. */
export interface Ready {
  readonly from: Hex;
  readonly to: Hex;
  readonly data: Hex;
  readonly value: "0x0";
}

/** Who may do it, by the wallet's node. */
export interface Actors {
  readonly accounts: readonly Hex[];
  /** What each of them is, such as `is an owner`. */
  readonly role: string;
}

export interface Check {
  readonly doing: string;
  check(wanted: Wanted): Promise<string>;
}

/** The one check that most acts have. */
export const asking = (check: (wanted: Wanted) => Promise<string>): readonly Check[] => [{ doing: "Asking the wallet’s node what holds now", check }];

export interface Act {
  readonly kind: string;
  /** Whether the ledger does it; else the consortium. */
  readonly ofLedger: boolean;
  /** The proposal that it votes for or against. */
  readonly proposal: Hex | null;
  /** What the bytes do, for people. */
  readonly rows: readonly Row[];
  /** Says that the bytes do what the address bar says. Throws where they do not. */
  typed(query: URLSearchParams): string;
  /** What is asked of the wallet's node about it, in this order: what each says when it holds. Each throws where it does not. */
  readonly checks: readonly Check[];
  actors(wanted: Wanted): Promise<Actors>;
  /** Whether another contract than the one that is called tells that it happened. */
  readonly toldElsewhere: boolean;
  /** Whether a log of its transaction shows that it happened. */
  shows(log: Log, from: Hex): boolean;
}
