// SPDX-License-Identifier: Apache-2.0
// Builds and reads the few calls that this console asks a wallet to sign. Nothing here comes from the server: the
// selectors are the first four bytes of keccak256 of the signature, written down and compared in the project's tests.
"use strict";

const Calldata = Object.freeze({
  functions: Object.freeze({
    approve: "approve((bytes32,bytes32,bytes32,bytes32[],uint64,uint64,uint32,uint64,uint64,uint64))",
    withdraw: "withdraw(bytes32)",
    revoke: "revoke(string)",
  }),
  approveSelector: "0x9193f18f",
  hashStudySelector: "0x5e7c43e0",
  withdrawSelector: "0x8e19899e",
  revokeSelector: "0x65b2a863",

  // A study's fields in the order in which the contract has them, with their types.
  studyFields: Object.freeze([
    ["composeHash", "bytes32"],
    ["outputHash", "bytes32"],
    ["privacyHash", "bytes32"],
    ["datasets", "bytes32[]"],
    ["epsilonMicro", "uint64"],
    ["deltaPico", "uint64"],
    ["maxRuns", "uint32"],
    ["expiry", "uint64"],
    ["epoch", "uint64"],
    ["nonce", "uint64"],
  ]),

  hex(bytes) {
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  },

  word(number) {
    return BigInt(number).toString(16).padStart(64, "0");
  },

  isHash(text) {
    return /^0x[0-9a-f]{64}$/.test(text);
  },

  isAddress(text) {
    return /^0x[0-9a-f]{40}$/.test(text);
  },

  // The content of a study as the page names it, checked field by field; it alone is encoded, shown and signed.
  content(given) {
    const fields = Calldata.studyFields.map(([name, type]) => {
      const value = given[name];
      if (type === "bytes32" && !Calldata.isHash(value)) throw new Error(name + " is no hash");
      if (type === "bytes32[]" && !(Array.isArray(value) && value.every(Calldata.isHash))) throw new Error(name + " are no hashes");
      if (type.startsWith("uint") && !(/^[0-9]{1,20}$/.test(value) && BigInt(value) < 2n ** BigInt(type.slice(4)))) throw new Error(name + " is no " + type);
      return [name, Array.isArray(value) ? Object.freeze([...value]) : value];
    });
    return Object.freeze(Object.fromEntries(fields));
  },

  // The struct is dynamic, so an offset stands before it, and another one in the place of its array.
  study(content) {
    const { datasets } = content;
    const place = Calldata.word(32 * Calldata.studyFields.length);
    const heads = Calldata.studyFields.map(([name, type]) =>
      type === "bytes32" ? content[name].slice(2) : type === "bytes32[]" ? place : Calldata.word(content[name]),
    );
    return Calldata.word(32) + heads.join("") + Calldata.word(datasets.length) + datasets.map((one) => one.slice(2)).join("");
  },

  approve(content) {
    return Calldata.approveSelector + Calldata.study(content);
  },

  hashStudy(content) {
    return Calldata.hashStudySelector + Calldata.study(content);
  },

  // What an owner signs instead of sending a transaction (EIP-712): its own account, and the content.
  typedData(content, { owner, chain, consortium }) {
    return {
      domain: { name: "Sealroom Consortium", version: "1", chainId: Number(chain), verifyingContract: consortium },
      primaryType: "ApproveStudy",
      types: {
        EIP712Domain: [
          { name: "name", type: "string" },
          { name: "version", type: "string" },
          { name: "chainId", type: "uint256" },
          { name: "verifyingContract", type: "address" },
        ],
        ApproveStudy: [
          { name: "owner", type: "address" },
          { name: "study", type: "Study" },
        ],
        Study: Calldata.studyFields.map(([name, type]) => ({ name, type })),
      },
      message: { owner, study: content },
    };
  },

  withdraw(study) {
    if (!Calldata.isHash(study)) throw new Error("not a study id");
    return Calldata.withdrawSelector + study.slice(2);
  },

  revoke(reason) {
    const bytes = new TextEncoder().encode(reason);
    if (bytes.length > 256) throw new Error("the reason has more than 256 bytes");
    const padded = Calldata.hex(bytes).padEnd(Math.ceil(bytes.length / 32) * 64, "0");
    return Calldata.revokeSelector + Calldata.word(32) + Calldata.word(bytes.length) + padded;
  },

  // A whole number of parts as an exact decimal: 1500000 with 6 places is 1.5.
  decimal(value, places) {
    const digits = BigInt(value).toString().padStart(places + 1, "0");
    return (digits.slice(0, -places) + "." + digits.slice(-places)).replace(/\.?0+$/, "");
  },

  // Source text as the page shows it: everything but printable ASCII by its number.
  visible(line) {
    return line.replace(/[^\x20-\x7e]/gu, (one) => "\\u{" + one.codePointAt(0).toString(16) + "}");
  },

  sameLines(one, other) {
    return one.length === other.length && one.every((line, index) => line === other[index]);
  },
});
