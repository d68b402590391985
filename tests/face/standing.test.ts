// SPDX-License-Identifier: Apache-2.0
// WE-12: the walk through a consortium's events starts at what the node says, and says where it ended too early.
import assert from "node:assert/strict";
import test from "node:test";

import { decodeFunctionData, encodeAbiParameters, encodeEventTopics, encodeFunctionResult, type Hex } from "viem";

import { rank, waiting } from "../../agents/sealroom_agents/console/face/decide/standing.ts";
import { compare } from "../../agents/sealroom_agents/console/face/decide/waiting.ts";
import { readContent, studyId } from "../../agents/sealroom_agents/console/face/model/calls.ts";
import { consortiumAbi, consortiumEvents, shownOfEachOwner } from "../../agents/sealroom_agents/console/face/model/model.ts";

const consortium: Hex = `0x${"9".repeat(40)}`;
const word: Hex = `0x${"7".repeat(64)}`;
const owner: Hex = `0x${"1".repeat(40)}`;
const state = { mark: 0n, pins: 0, until: 0, approvedAt: 0, approvals: 0, revokers: 0, roster: 7, roll: 1, threshold: 2, ended: 0 };
const votes = [{ approved: 1, withdrawn: 0, roster: 7, kind: 1, since: 0, base: `0x${"0".repeat(40)}` }, true];

const view = (data: Hex, lastBlock: bigint): Hex => {
  const { functionName } = decodeFunctionData({ abi: consortiumAbi, data });
  const answers: Readonly<Record<string, unknown>> = { basis: word, state, votes, accountsAt: [owner], chronicle: { lastBlock, steps: 0n, steppedBlock: 0n, seats: 0, confirmed: 0, events: 0 } };
  return encodeFunctionResult({ abi: consortiumAbi, functionName, result: answers[functionName] } as never);
};

/** A node on which something happened in each block of so many. */
const node = (blocks: bigint, asked: bigint[]) => ({
  async request({ method, params }: { readonly method: string; readonly params: readonly unknown[] }): Promise<unknown> {
    const [first] = params as readonly { readonly data: Hex; readonly fromBlock: string }[];
    if (method === "eth_call") return view(first?.data ?? "0x", blocks);
    assert.equal(method, "eth_getLogs");
    const block = BigInt(first?.fromBlock ?? "0x0");
    asked.push(block);
    const topics = encodeEventTopics({ abi: consortiumEvents, eventName: "Approved", args: { proposal: word, owner } });
    return [{ address: consortium, topics, data: encodeAbiParameters([{ type: "uint64" }], [block - 1n]) }];
  },
});

const walk = async (blocks: bigint) => {
  const asked: bigint[] = [];
  Object.assign(globalThis, { window: { ethereum: node(blocks, asked) } });
  return { ...(await waiting(consortium)), asked };
};

test("a walk that ended before the first event says so", async () => {
  const short = await walk(9n);
  assert.deepEqual([short.whole, short.asked], [true, [9n, 8n, 7n, 6n, 5n, 4n, 3n, 2n, 1n]]);
  assert.equal((await walk(256n)).whole, true);
  const long = await walk(257n);
  assert.deepEqual([long.whole, long.asked.length], [false, 256]);
  assert.deepEqual([short.since.beginning, long.since.beginning], [true, false]);
});

const proposal = (runs: number): { readonly study: Hex; readonly log: object } => {
  const numbers = { epsilonMicro: 1n, deltaPico: 0n, maxRuns: runs, expiry: 2n ** 40n, nonce: 0n };
  const content = { composeHash: word, outputHash: word, privacyHash: word, datasets: [word], versions: [0], basis: word, ...numbers };
  const study = studyId(readContent({ ...content, versions: ["0"], epsilonMicro: "1", deltaPico: "0", maxRuns: String(runs), expiry: String(2n ** 40n), nonce: "0" }));
  const topics = encodeEventTopics({ abi: consortiumEvents, eventName: "StudyProposed", args: { study, composeHash: word, by: owner } } as never);
  const { inputs } = consortiumEvents.find((one) => "name" in one && one.name === "StudyProposed") as { readonly inputs: readonly { readonly indexed: boolean }[] };
  return { study, log: { address: consortium, topics, data: encodeAbiParameters(inputs.filter((one) => !one.indexed) as never, [content, 0n] as never) } };
};

test("one owner's many proposals cost few questions, and hide nobody else's", async () => {
  const all = Array.from({ length: 300 }, (_, index) => proposal(index + 1));
  let calls = 0;
  const { request } = node(1n, []);
  const many = async (asked: { readonly method: string; readonly params: readonly unknown[] }): Promise<unknown> => {
    if (asked.method === "eth_getLogs") return all.map(({ log }) => log);
    calls += 1;
    return request(asked);
  };
  Object.assign(globalThis, { window: { ethereum: { request: many } } });
  const found = await waiting(consortium);
  assert.equal(found.whole, true);
  assert.deepEqual(found.waiting.map(({ study }) => study), all.slice(-shownOfEachOwner).map(({ study }) => study));
  assert.ok(calls < 100, String(calls));
});

const none = { approved: [], studies: new Set<string>(), pinned: null, beginning: true };

test("an older approval is no last one (WE-01)", () => {
  const [now, old, last, change] = ["1", "2", "3", "4"].map((digit): Hex => `0x${digit.repeat(64)}`) as [Hex, Hex, Hex, Hex];
  const pinned = { ...none, pinned: { study: last, block: 5n, by: [owner] }, beginning: false };
  assert.deepEqual([rank(pinned, last, null, now), rank(pinned, old, null, now), rank(none, old, null, now)], ["last", "other", "untold"]);
  assert.deepEqual([rank(pinned, last, owner, now), rank(pinned, old, owner, now), rank(pinned, old, consortium, now)], ["pinned", "other", "untold"]);
  const voted = (...proposals: readonly Hex[]) => ({ ...pinned, approved: proposals.map((proposal) => ({ proposal, owner })), studies: new Set([now, old]) });
  assert.deepEqual([rank(voted(now, old, change), old, owner, now), rank(voted(old), last, owner, now), rank(voted(change), last, owner, now)], ["last", "other", "untold"]);
});

test("a file's block excuses only what was proposed after it, and never one before its own study (WE-12)", () => {
  const one = { study: word, content: {} as never, by: owner, block: 9n };
  const names = (made: bigint | null) => {
    const found = compare({ waiting: [one], whole: true, since: none }, new Set(), made, 7n);
    return [found.missing.length, found.since.length];
  };
  assert.deepEqual([names(null), names(9n), names(8n), names(7n), names(6n), names(0n)], [[1, 0], [1, 0], [0, 1], [0, 1], [1, 0], [1, 0]]);
});
