// SPDX-License-Identifier: Apache-2.0
// WE-03: whoever built the bytes, the last look takes them only for the dialog's act and content.
import assert from "node:assert/strict";
import test from "node:test";

import * as Actions from "../../agents/sealroom_agents/console/face/decide/actions.ts";
import { approve } from "../../agents/sealroom_agents/console/face/decide/acts/approve.ts";
import { revoke } from "../../agents/sealroom_agents/console/face/decide/acts/revoke.ts";
import { submit } from "../../agents/sealroom_agents/console/face/decide/acts/submit.ts";
import { withdraw } from "../../agents/sealroom_agents/console/face/decide/acts/withdraw.ts";
import { readContent } from "../../agents/sealroom_agents/console/face/model/calls.ts";
import { functions, structs } from "../../agents/sealroom_agents/console/face/model/model.ts";
import { messages, readCall, selectors } from "../../agents/sealroom_agents/console/face/model/readback.ts";
import * as Safe from "../../agents/sealroom_agents/console/face/model/safe.ts";
import { toFunctionSelector, type Hex } from "viem";

const word = (digit: string): Hex => `0x${digit.repeat(64)}`;
const address = (digit: string): Hex => `0x${digit.repeat(40)}`;
const content = readContent({
  composeHash: word("1"),
  outputHash: word("2"),
  privacyHash: word("3"),
  datasets: [word("4"), word("5")],
  versions: ["0", "2"],
  epsilonMicro: "1500000",
  deltaPico: "1000000",
  maxRuns: "3",
  expiry: "1900000000",
  basis: word("7"),
  nonce: "0",
});
const wanted = { consortium: address("9"), chain: "31337", study: word("8"), block: "5", content, reason: "consent withdrawn: ünïcode" };
const other = { ...wanted, content: { ...content, maxRuns: "9" }, reason: "x", study: word("6") };
const [owner, stranger] = [address("1"), address("2")];

// Each act knows what it needs of the same place.
const signed = (account: Hex) => ({ owner: account, signature: ("0x" + "11".repeat(65)) as Hex, id: "hospital-X", contract: false });
const handingIn = submit([signed(owner)]);
const acts = [approve(), withdraw(), revoke(), handingIn] as unknown as readonly Actions.Action<typeof wanted & { readonly by: readonly unknown[] }>[];
const mineOf = { ...wanted, by: [signed(owner)] };
const others = [{ ...mineOf, ...other, by: [signed(stranger)] }];

type One = (typeof acts)[number];
const call = (action: One, data: string, to: Hex = wanted.consortium, value = "0x0") => () => Actions.guardCall(action, mineOf, { to, data, value: value as "0x0" });
const sending = (action: One, what = mineOf): Hex => Actions.callOf(action, what);
const returnsOf = (action: One): string => (action.signing?.asksReturns ? "2" : "");
const text = (action: One, what = mineOf, by = owner): string => JSON.stringify(Actions.messageOf(action, what, by, returnsOf(action)));
const message = (action: One, json: string) => () => Actions.guardMessage(action, mineOf, owner, returnsOf(action), json);
const signing = acts.filter((one) => one.signing);

test("a dialog takes its own call and message, and no other act's", () => {
  for (const mine of acts) {
    for (const given of acts) {
      const check = given.act === mine.act ? assert.doesNotThrow : assert.throws;
      check(call(mine, sending(given)));
      if (given.signing && mine.signing) check(message(mine, text(given)));
    }
    assert.throws(call(mine, sending(mine), stranger));
    assert.throws(call(mine, sending(mine), wanted.consortium, "0x1"));
  }
});

test("a dialog takes its own act only with what it shows", () => {
  const [less] = others;
  for (const mine of acts) assert.throws(call(mine, sending(mine, less)));
  for (const mine of signing) {
    assert.throws(message(mine, text(mine, less)));
    assert.throws(message(mine, text(mine, { ...mineOf, consortium: address("6") })));
    assert.throws(message(mine, text(mine, { ...mineOf, chain: "1" })));
    assert.throws(message(mine, text(mine, mineOf, stranger)));
  }
});

test("a message of another type, form or contract is refused, whatever it is called", () => {
  for (const mine of signing) {
    const honest = JSON.parse(text(mine));
    assert.doesNotThrow(message(mine, JSON.stringify(honest)));
    const [type] = [honest.primaryType];
    const lies: readonly object[] = [
      { ...honest, primaryType: "Revoke", types: { ...honest.types, Revoke: honest.types[type] } },
      { ...honest, primaryType: "Permit" },
      { ...honest, extra: 1 },
      { ...honest, message: { ...honest.message, extra: 1 } },
      { ...honest, domain: { ...honest.domain, salt: word("1") } },
      { ...honest, domain: { ...honest.domain, name: "Sealroom Ledger" } },
      { ...honest, types: { ...honest.types, [type]: [...honest.types[type], { name: "extra", type: "uint256" }] } },
      { ...honest, types: { ...honest.types, [type]: honest.types[type].toReversed() } },
    ];
    for (const lie of lies.slice(type === "Revoke" ? 1 : 0)) assert.throws(message(mine, JSON.stringify(lie)), JSON.stringify(lie));
  }
});

test("call data with anything beside one act are refused", () => {
  for (const mine of acts) {
    const data = sending(mine);
    const deed = readCall(data);
    assert.equal(deed.act, mine.act === "submit" ? "approve" : mine.act);
    // No word of it can be another: none is passed over.
    for (let at = 10; at < data.length; at += 64) {
      const changed = data.slice(0, at) + data.slice(at, at + 63) + ((parseInt(data.charAt(at + 63), 16) + 1) % 16).toString(16) + data.slice(at + 64);
      assert.throws(call(mine, changed), `${mine.act} at ${at}`);
    }
    for (const lie of [data + "00", data + "0".repeat(64), data.slice(0, -2), data.slice(0, -64), "0x12345678" + data.slice(10), data.toUpperCase()]) assert.throws(() => readCall(lie));
  }
});

test("the second decoder names functions and types as the model does", () => {
  for (const [name, selector] of Object.entries(selectors)) assert.equal(selector, toFunctionSelector("function " + functions[name as keyof typeof functions]));
  const field = ([name, type]: readonly string[]): string => `${type} ${name}`;
  const encoded = (name: keyof typeof structs): string => name + "(" + structs[name].map(field).join() + ")";
  assert.deepEqual(messages, { ApproveStudy: encoded("ApproveStudy") + encoded("Study"), Withdraw: encoded("Withdraw"), Revoke: encoded("Revoke") });
});

test("a file for a Safe holds the act and no other, whoever wrote it", () => {
  for (const mine of acts) {
    const file = Safe.file(Safe.callOf(wanted.consortium, sending(mine)), { chain: wanted.chain, safe: owner, name: "x", created: 0 });
    const guard = (given: string) => () => Actions.guardFile(mine, mineOf, given);
    assert.doesNotThrow(guard(file));
    const honest = JSON.parse(file);
    const [transaction] = honest.transactions;
    for (const given of acts.filter((one) => one.act !== mine.act)) {
      assert.throws(guard(Safe.file(Safe.callOf(wanted.consortium, sending(given)), { chain: wanted.chain, safe: owner, name: "x", created: 0 })));
    }
    for (const lie of [{ chainId: "1" }, { transactions: [transaction, transaction] }, { transactions: [{ ...transaction, value: "1" }] }, { transactions: [{ ...transaction, to: stranger }] }, { transactions: [{ ...transaction, data: "0x" }] }]) {
      assert.throws(guard(JSON.stringify({ ...honest, ...lie })));
    }
  }
});
