// SPDX-License-Identifier: Apache-2.0
// Builds, and reads back, the few calls and messages that this console asks a wallet to sign. Nothing here comes from the
// server: the selectors are the first four bytes of keccak256 of the signature, written down and compared in the project's
// tests.
"use strict";

const Calldata = Object.freeze({
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
  }),

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
      if (type.startsWith("uint") && !(/^(0|[1-9][0-9]{0,19})$/.test(value) && BigInt(value) < 2n ** BigInt(type.slice(4)))) throw new Error(name + " is no " + type);
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
    return Calldata.selectors.approve + Calldata.study(content);
  },

  hashStudy(content) {
    return Calldata.selectors.hashStudy + Calldata.study(content);
  },

  withdraw(study) {
    if (!Calldata.isHash(study)) throw new Error("not a study id");
    return Calldata.selectors.withdraw + study.slice(2);
  },

  revoke(reason) {
    const bytes = Calldata.reason(reason);
    const padded = Calldata.hex(bytes).padEnd(Math.ceil(bytes.length / 32) * 64, "0");
    return Calldata.selectors.revoke + Calldata.word(32) + Calldata.word(bytes.length) + padded;
  },

  // The bytes of a reason. The contract keeps 256 of them.
  reason(text) {
    if (/\p{Cs}/u.test(text)) throw new Error("the reason has half of a surrogate pair");
    const bytes = new TextEncoder().encode(text);
    if (bytes.length > 256) throw new Error("the reason has more than 256 bytes");
    return bytes;
  },

  // What final call data do, read from the bytes alone: which act, and on what.
  readBack(data) {
    const act = Object.keys(Calldata.functions).find((name) => data.startsWith(Calldata.selectors[name]));
    if (!act || !/^0x[0-9a-f]+$/.test(data)) throw new Error("These call data are of no act that this page knows.");
    const words = data.slice(10).match(/.{1,64}/g) ?? [];
    if (act === "withdraw") return { act, study: "0x" + words.join("") };
    if (act === "revoke") {
      const bytes = Uint8Array.from(words.slice(2).join("").slice(0, 2 * Number("0x" + words[1])).match(/../g) ?? [], (one) => parseInt(one, 16));
      return { act, reason: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) };
    }
    const heads = words.slice(1);
    const content = Calldata.studyFields.map(([name, type], index) => {
      if (type === "bytes32[]") return [name, heads.slice(1 + Calldata.studyFields.length).map((one) => "0x" + one)];
      return [name, type === "bytes32" ? "0x" + heads[index] : BigInt("0x" + heads[index]).toString()];
    });
    return { act, content: Object.fromEntries(content) };
  },

  // The same of a message: which act its primary type names, and on what.
  readMessage({ primaryType, message }) {
    if (primaryType === "ApproveStudy") return { act: "approve", content: message.study };
    if (primaryType === "Withdraw") return { act: "withdraw", study: message.proposal };
    if (primaryType === "Revoke") return { act: "revoke", reason: message.reason };
    throw new Error("This message is of no act that this page knows.");
  },

  // An EIP-712 message of this consortium, as `eth_signTypedData_v4` takes it.
  typedData(primaryType, fields, message, { chain, consortium }) {
    return {
      domain: { name: "Sealroom Consortium", version: "1", chainId: Number(chain), verifyingContract: consortium },
      primaryType,
      types: {
        EIP712Domain: [
          { name: "name", type: "string" },
          { name: "version", type: "string" },
          { name: "chainId", type: "uint256" },
          { name: "verifyingContract", type: "address" },
        ],
        [primaryType]: fields.map(([name, type]) => ({ name, type })),
        ...(primaryType === "ApproveStudy" ? { Study: Calldata.studyFields.map(([name, type]) => ({ name, type })) } : {}),
      },
      message,
    };
  },

  // A whole number of parts as an exact decimal: 1500000 with 6 places is 1.5.
  decimal(value, places) {
    const digits = BigInt(value).toString().padStart(places + 1, "0");
    return (digits.slice(0, -places) + "." + digits.slice(-places)).replace(/\.?0+$/, "");
  },

  // Text as the page shows it: everything but printable ASCII by its number.
  visible(text) {
    return text.replace(/[^\x20-\x7e]/gu, (one) => "\\u{" + one.codePointAt(0).toString(16) + "}");
  },
});
