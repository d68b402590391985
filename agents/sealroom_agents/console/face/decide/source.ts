// SPDX-License-Identifier: Apache-2.0
// Where a page has from what it does not believe: its server, or the file that it is.
import type { Hex } from "viem";

import { functions } from "../model/model.ts";
import { type Child, make } from "../parts/dom.ts";
import * as Facts from "../disk/facts.ts";
import { disk } from "./teller.ts";

interface Place {
  readonly consortium: Hex;
  readonly chain: string;
  readonly study: Hex;
}

const served = async (composeHash: Hex): Promise<ArrayBuffer> => {
  const answer = await fetch("/v1/recipes/" + composeHash, { credentials: "omit", redirect: "error" });
  if (!answer.ok) throw new Error("The server does not have the recipe’s bytes, so they cannot be checked. Whoever has app-compose.json hands it in: choose it at Propose a study, on the page of changes (PUT /v1/recipes), and reload this page.");
  return answer.arrayBuffer();
};

const held = (composeHash: Hex): ArrayBuffer => {
  const found = Facts.bytes(composeHash);
  if (!found) throw new Error("This file does not hold the bytes of the recipe " + composeHash + ".");
  return found;
};

/** What leads a reader to a recipe's bytes; in a file they are inside. */
export const link = (composeHash: Hex): readonly Child[] => {
  if (disk) return [];
  const made = make("a", "", "bytes");
  made.href = "/v1/recipes/" + composeHash;
  return [" ", made];
};

/** A recipe's bytes, not compared with their hash. Throws where there are none. */
export const bytes = async (composeHash: Hex): Promise<ArrayBuffer> => (disk ? held(composeHash) : served(composeHash));

/** The block that a file says it is of; null for a page that is served anew each time. */
export const madeAt = (): bigint | null => (disk ? Facts.block() : null);

const prepared = async ({ consortium, study }: Place): Promise<readonly string[]> => {
  const answer = await fetch("/v1/calls", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ consortium, action: "approve", study }),
    credentials: "omit",
    redirect: "error",
  });
  const call = await answer.json();
  if (!answer.ok) throw new Error(call.detail || "the server refuses");
  return [call.to, call.function, call.data, String(call.chainId)];
};

/** The call that approves a study, as other code built it: contract, function, data, chain. */
export const call = async (place: Place): Promise<readonly string[]> => (disk ? [place.consortium, functions.approve, Facts.call(), place.chain] : prepared(place));
