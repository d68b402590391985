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
      ["nonce", "uint64", "studies before", ""],
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
  }),
  selectors: Object.freeze({
    approve: "0x9193f18f",
    withdraw: "0x8e19899e",
    revoke: "0x65b2a863",
    hashStudy: "0x5e7c43e0",
    owners: "0xaffe39c1",
    epoch: "0x900cf0cf",
    pinCount: "0xa9a9b2e2",
    threshold: "0x42cde4e8",
    approvals: "0xbf7c2131",
    dataset: "0xd768add7",
  }),
  events: Object.freeze({
    StudyProposed: "0x20503168d4023905ec8b9214120054bec8999e0ed8f52bcf0524518c8ae9af43",
    StudyApproved: "0x0a3a55b4019ac0c8b4bdf5788f0c63022c5d3d93e52b7d06566338e432ce80b8",
    StudyPinned: "0x5d7c540eff7e89bc55c1497a1cc23efc6c512743979e976ff85b1a541ad8d187",
    ApprovalWithdrawn: "0xd757fbaea313474a073c66566acba6acd3576da9eb6958f2cbb2a5b5467d15ad",
    Revoked: "0x28dcb0e43449cb14bfb510fab050117fb4138cc53cdf70dd3f78c08778d20bef",
  }),
  maxOwners: 16,
  maxReasonBytes: 256,
});
