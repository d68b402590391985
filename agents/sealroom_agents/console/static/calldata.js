// SPDX-License-Identifier: Apache-2.0
// Builds and reads the few calls that this console asks a wallet to sign. Nothing here comes from the server: the
// selectors are the first four bytes of keccak256 of the signature, written down and compared in the project's tests.
"use strict";

const Calldata = Object.freeze({
  approveFunction: "approve(bytes32)",
  revokeFunction: "revoke(string)",
  approveSelector: "0xa53a1adf",
  revokeSelector: "0x65b2a863",
  studySelector: "0xe0baed8b",

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

  approve(study) {
    if (!Calldata.isHash(study)) throw new Error("not a study id");
    return Calldata.approveSelector + study.slice(2);
  },

  revoke(reason) {
    const bytes = new TextEncoder().encode(reason);
    if (bytes.length > 256) throw new Error("the reason has more than 256 bytes");
    const padded = Calldata.hex(bytes).padEnd(Math.ceil(bytes.length / 32) * 64, "0");
    return Calldata.revokeSelector + Calldata.word(32) + Calldata.word(bytes.length) + padded;
  },

  study(study) {
    if (!Calldata.isHash(study)) throw new Error("not a study id");
    return Calldata.studySelector + study.slice(2);
  },

  // Source text as the page shows it: everything but printable ASCII by its number.
  visible(line) {
    return line.replace(/[^\x20-\x7e]/gu, (one) => "\\u{" + one.codePointAt(0).toString(16) + "}");
  },

  sameLines(one, other) {
    return one.length === other.length && one.every((line, index) => line === other[index]);
  },

  // The compose hash in the answer of study(bytes32): the struct is dynamic, so an offset stands before it.
  composeHash(answer) {
    if (typeof answer !== "string" || !/^0x([0-9a-f]{64}){10,}$/.test(answer)) throw new Error("not a study");
    return "0x" + answer.slice(2 + 64, 2 + 128);
  },
});
