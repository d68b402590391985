// SPDX-License-Identifier: Apache-2.0
// What owners call and sign, as sealroom.model defines it. Written by `make abi`; never by hand.
"use strict";

const Model = Object.freeze({
  domain: Object.freeze({"name": "Sealroom Consortium", "version": "1"}),
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
      ["epsilonMicro", "uint64", "epsilon", "micro"],
      ["deltaPico", "uint64", "delta", "pico"],
      ["maxRuns", "uint32", "runs", ""],
      ["expiry", "uint64", "expires", "seconds"],
      ["epoch", "uint64", "epoch", ""],
      ["nonce", "uint64", "after studies", ""],
    ]),
    ApproveStudy: Object.freeze([
      ["owner", "address", "owner", ""],
      ["study", "Study", "study", ""],
    ]),
    Withdraw: Object.freeze([
      ["owner", "address", "owner", ""],
      ["proposal", "bytes32", "proposal", ""],
      ["epoch", "uint64", "epoch", ""],
    ]),
    Revoke: Object.freeze([
      ["owner", "address", "owner", ""],
      ["reason", "string", "reason", ""],
      ["epoch", "uint64", "epoch", ""],
    ]),
  }),
  functions: Object.freeze({
    approve: "approve((bytes32,bytes32,bytes32,bytes32[],uint64,uint64,uint32,uint64,uint64,uint64))",
    withdraw: "withdraw(bytes32)",
    revoke: "revoke(string)",
    hashStudy: "hashStudy((bytes32,bytes32,bytes32,bytes32[],uint64,uint64,uint32,uint64,uint64,uint64))",
  }),
  selectors: Object.freeze({
    approve: "0x9193f18f",
    withdraw: "0x8e19899e",
    revoke: "0x65b2a863",
    hashStudy: "0x5e7c43e0",
  }),
  maxReasonBytes: 256,
});
