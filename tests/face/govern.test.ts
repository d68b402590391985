// SPDX-License-Identifier: Apache-2.0
// WE-01: a draft has the id of the call that does just what it says, and of no other.
import assert from "node:assert/strict";
import test from "node:test";

import { encodeFunctionData, type Hex, stringToHex } from "viem";

import { read } from "../../agents/sealroom_agents/console/face/govern/deed.ts";
import { drafted } from "../../agents/sealroom_agents/console/face/govern/draft.ts";
import { asTyped, sameSet } from "../../agents/sealroom_agents/console/face/govern/typed.ts";
import { votesAbi } from "../../agents/sealroom_agents/console/face/model/governing.ts";

const word = (digit: string): Hex => `0x${digit.repeat(64)}`;
const account: Hex = `0x${"ab".repeat(20)}`;
const terms = { expiry: 2000000000, follows: word("1") };
const lists = { osImages: [word("2")], devices: [word("3"), word("4")] };
const platform = { gateRoot: word("5"), gateSigner: account, gateCompose: word("6"), policyHash: word("7"), ...lists };
const seat = { account, jurisdiction: "DE", regimes: ["HIPAA", "SOC 2"], id: "hospital-D" };
const roster = { remove: ["hospital-B"], add: [seat], threshold: 2 };
const inCall = {
  remove: roster.remove.map((one) => stringToHex(one, { size: 32 })),
  add: [{ account, jurisdiction: stringToHex("DE", { size: 2 }), regimes: 0b100001, id: stringToHex(seat.id, { size: 32 }) }],
  threshold: 2,
};

const kinds = [
  ["roster", "changeRoster", inCall, roster, { threshold: 3 }],
  ["platform", "adoptPlatform", platform, platform, { policyHash: word("8") }],
  ["machines", "addMachines", lists, lists, { devices: [word("3")] }],
] as const;

const draft = (kind: string, content: object): string => JSON.stringify({ version: 2, kind, content: { ...content, ...terms } });

for (const [kind, functionName, fields, content, change] of kinds) {
  test("a draft of " + kind + " is compared with the call field by field", () => {
    const deed = read(encodeFunctionData({ abi: votesAbi, functionName, args: [fields, { ...terms, expiry: BigInt(terms.expiry) }, []] } as never), false);
    assert.equal("proposal" in deed && deed.proposal, drafted(draft(kind, content), kind));
    const query = (text: string): URLSearchParams => new URLSearchParams({ what: "draft", draft: text });
    assert.match(asTyped(deed, query(draft(kind, content))), /exactly the draft/);
    for (const other of [change, { expiry: 2000000001 }, { follows: word("9") }]) {
      assert.throws(() => asTyped(deed, query(JSON.stringify({ version: 2, kind, content: { ...content, ...terms, ...other } }))), /the draft differs/);
    }
    const more = draft(kind, { ...content, more: 1 });
    for (const text of ["", "{}", "[]", "{", more, draft("study", content), JSON.stringify({ version: 3, kind, content: { ...content, ...terms } })]) {
      assert.throws(() => asTyped(deed, query(text)), /cannot be read/);
    }
  });
}

test("an owner of a draft is read strictly", () => {
  for (const change of [{ regimes: ["GPDR"] }, { jurisdiction: "DEU" }, { id: "a b" }, { id: "x".repeat(33) }, { regimes: "HIPAA" }]) {
    assert.throws(() => drafted(draft("roster", { ...roster, add: [{ ...seat, ...change }] }), "roster"), /cannot be read/);
  }
});

test("names that stand twice stand for no others", () => {
  assert.deepEqual([sameSet(["a", "b"], ["b", "a"]), sameSet(["a", "a"], ["a", "b"]), sameSet(["a", "b"], ["a", "a"]), sameSet([], [])], [true, false, false, true]);
});
