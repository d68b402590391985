// SPDX-License-Identifier: Apache-2.0
// What owners call and sign, as sealroom.model defines it, and what recipes promise.
// Written by `make abi`; never by hand.
"use strict";

const Model = Object.freeze({
  domain: Object.freeze({"name": "Sealroom Consortium", "version": "2"}),
  domainFields: Object.freeze([
    ["name", "string"],
    ["version", "string"],
    ["chainId", "uint256"],
    ["verifyingContract", "address"],
  ]),

  // The fields of each structure in order: name, type, what people read beside it, unit.
  structs: Object.freeze({
    Study: Object.freeze([
      ["composeHash", "bytes32", "recipe", ""],
      ["outputHash", "bytes32", "output", ""],
      ["privacyHash", "bytes32", "privacy", ""],
      ["datasets", "bytes32[]", "dataset", ""],
      ["versions", "uint32[]", "version", ""],
      ["epsilonMicro", "uint64", "epsilon", "micro"],
      ["deltaPico", "uint64", "delta", "pico"],
      ["maxRuns", "uint32", "runs", ""],
      ["expiry", "uint64", "expires", "seconds"],
      ["basis", "bytes32", "basis", ""],
      ["nonce", "uint64", "studies before", ""],
    ]),
    ApproveStudy: Object.freeze([
      ["owner", "address", "owner", ""],
      ["study", "Study", "study", ""],
    ]),
    Withdraw: Object.freeze([
      ["owner", "address", "owner", ""],
      ["proposal", "bytes32", "proposal", ""],
    ]),
    Revoke: Object.freeze([
      ["owner", "address", "owner", ""],
      ["reason", "string", "reason", ""],
      ["returns", "uint64", "returns", ""],
    ]),
  }),
  functions: Object.freeze({
    approve: "approve((bytes32,bytes32,bytes32,bytes32[],uint32[],uint64,uint64,uint32,uint64,bytes32,uint64),(address,bytes)[])",
    withdraw: "withdraw(bytes32)",
    revoke: "revoke(string)",
  }),
  selectors: Object.freeze({
    approve: "0x20f17f75",
    withdraw: "0x8e19899e",
    revoke: "0x65b2a863",
    owners: "0xaffe39c1",
    basis: "0xf385cecb",
    state: "0xc19d93fb",
    votes: "0x2b38cd96",
    accountsAt: "0x04017dae",
    returnsOf: "0x1915c906",
    ledger: "0x56397c35",
    datasetOf: "0xa6847804",
    versionOf: "0xd37e791e",
    accountOf: "0x0b61a887",
    allowanceOf: "0x7fc98621",
  }),
  events: Object.freeze({
    StudyProposed: "0xe993351c26b3bd254b812ada175af777716022db7ab5c2cd30dc6c29c88dfa97",
    Approved: "0x9c393fce2fd91951ce3f00b36016bca64703f85be981a27c482257e8e4e5dcb2",
    StudyPinned: "0x016f838032c10f2c051a399a20dc5fd898461c8c3120e400cbaddb15d3789096",
    Withdrawn: "0x9b0f6f68eabfb879797d99efa5b3ee058e42b611bbd27f74e2012125a1a87224",
    Revoked: "0x7b6c092ccadba4df1b843096f58436336336909b249897df8191ba6c23f58448",
  }),

  // What recipes promise, whether a script computes, and whether all rests on reading that script.
  guarantees: Object.freeze({
    "by-construction": Object.freeze({"name": "by-construction", "sentence": "Each person's rows depend on that person's data alone, whoever wrote the study: only SQL that keeps people apart compiles, and only what was compiled runs.", "byScript": false, "mustRead": false}),
    "by-blocks": Object.freeze({"name": "by-blocks", "sentence": "Each person is in one block, the script sees one block at a time, and noise hides whatever a block hands in. It does not cover a script written to leave a trace in the machine's speed for the blocks after it.", "byScript": true, "mustRead": false}),
    "by-reading": Object.freeze({"name": "by-reading", "sentence": "The promise rests on reading the script: no code checks that it makes each person's row from that person's data alone, and a script that does not can let exact records leave.", "byScript": true, "mustRead": true}),
  }),
  // Of a transaction: the most gas, what a vote may need for each word of its call, and calls that are votes.
  gas: Object.freeze({ most: 16000000n, slot: 22100n, votes: Object.freeze(["0x20f17f75"]) }),
  maxOwners: 16,
  maxReasonBytes: 256,
});
