// SPDX-License-Identifier: Apache-2.0
// The link `blocks`: the proofs of an envelope lead to hashes of blocks, and somebody vouches for each hash: a node that was
// asked, who gave the hash, or the gate that granted. Twin of `sealroom_agents.verification.blocks`. Whoever vouches for
// another block of the same number breaks the link.
import type { Hex } from "../base/bytes.ts";
import { anchorOf } from "./of_run.ts";
import { refuse } from "../base/refusal.ts";
import type { Findings, Step, TrustedBlock, Voucher } from "./state.ts";
import { asked, check } from "./state.ts";
import { shownBy } from "./shown.ts";
import { finalizedDigest, requireSigner } from "./typed.ts";

const trusted = (found: Findings): TrustedBlock[] => {
  const shown = found.of("shown");
  const signed = new Set([found.envelope.grant.blockNumber, ...anchorOf(found).finalized.map((block) => block.number)]);
  return [...shown.headers.values()]
    .sort((one, other) => (one.number < other.number ? -1 : 1))
    .map(({ number, hash }) => {
      const vouching: [Voucher, boolean][] = [["node", found.chain !== null], ["auditor", found.hashes.has(number)], ["gate", signed.has(number)]];
      const vouchers = vouching.filter(([, vouches]) => vouches).map(([who]) => who);
      return { number, hash, shows: shown.words(number), vouchers, gateCompose: vouchers.includes("gate") ? found.of("gate").composeHash : null };
    });
};

export const BLOCKS: Step = {
  name: "blocks",
  checks: [
    check("proofs.paths", async (found) => found.put("shown", await shownBy(found.envelope, anchorOf(found)))),
    check("proofs.auditor", (found) => {
      for (const { number, hash } of found.of("shown").headers.values()) {
        if ((found.hashes.get(number) ?? hash) !== hash) refuse("block-mismatch", `the proofs are of block ${number} with the hash ${hash}, not of the given one`);
      }
    }),
    check("proofs.grant", (found) => {
      const { blockNumber, blockHash } = found.envelope.grant;
      const header = found.of("shown").headers.get(blockNumber);
      if (header && header.hash !== blockHash) refuse("block-mismatch", `the grant names another block ${blockNumber} than the proofs`);
    }),
    check("proofs.finalized", (found) => {
      const { statement, gate } = found.envelope;
      const left = new Map(found.of("shown").headers);
      for (const block of anchorOf(found).finalized) {
        if (left.get(block.number)?.hash !== block.hash) {
          refuse("block-mismatch", `the gate's word on block ${block.number} is of none of the proofs, or stands there twice`);
        }
        left.delete(block.number);
        const digest = finalizedDigest(block, statement.chainId, statement.consortium);
        requireSigner(digest, block.signature, gate.signer, "finality-forged", `word on block ${block.number}`);
      }
    }),
    asked("chain.id", async ({ envelope }, chain) => {
      if ((await chain.chainId()) !== envelope.statement.chainId) refuse("wrong-chain", `this is not chain ${envelope.statement.chainId}`);
    }),
    asked("proofs.nodes", async (found, chain) => {
      const { blockNumber, blockHash } = found.envelope.grant;
      const known: [bigint, Hex][] = [[blockNumber, blockHash], ...[...found.of("shown").headers.values()].map(({ number, hash }): [bigint, Hex] => [number, hash])];
      for (const [number, hash] of known) if ((await chain.blockHash(number)) !== hash) refuse("wrong-chain", `this chain has another block ${number}`);
    }),
  ],
  blocks: trusted,
  tell: (found) => {
    const blocks = trusted(found);
    const lacking = blocks.filter((block) => !block.vouchers.length);
    const told = `${blocks.length} blocks, from ${String(blocks[0]?.number)} to ${String(blocks[blocks.length - 1]?.number)}; `;
    return told + (lacking.length ? `nobody vouches for the hash of ${lacking.map((block) => block.number).join(", ")}` : "each has the hash that is vouched for");
  },
};
