// SPDX-License-Identifier: Apache-2.0
// Builds, and reads back, the few calls and messages that this console asks a wallet to sign. Nothing here comes from the
// server's data: what they are made of stands in model.js, which the project's tests compare with the contracts.
"use strict";

const Calldata = Object.freeze({
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
    const fields = Model.structs.Study.map(([name, type]) => {
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
    const place = Calldata.word(32 * Model.structs.Study.length);
    const heads = Model.structs.Study.map(([name, type]) =>
      type === "bytes32" ? content[name].slice(2) : type === "bytes32[]" ? place : Calldata.word(content[name]),
    );
    return Calldata.word(32) + heads.join("") + Calldata.word(datasets.length) + datasets.map((one) => one.slice(2)).join("");
  },

  approve(content) {
    return Model.selectors.approve + Calldata.study(content);
  },

  hashStudy(content) {
    return Model.selectors.hashStudy + Calldata.study(content);
  },

  withdraw(study) {
    if (!Calldata.isHash(study)) throw new Error("not a study id");
    return Model.selectors.withdraw + study.slice(2);
  },

  revoke(reason) {
    const bytes = Calldata.reason(reason);
    const padded = Calldata.hex(bytes).padEnd(Math.ceil(bytes.length / 32) * 64, "0");
    return Model.selectors.revoke + Calldata.word(32) + Calldata.word(bytes.length) + padded;
  },

  // The bytes of a reason. The contract keeps 256 of them.
  reason(text) {
    if (/\p{Cs}/u.test(text)) throw new Error("the reason has half of a surrogate pair");
    const bytes = new TextEncoder().encode(text);
    if (bytes.length > Model.maxReasonBytes) throw new Error("the reason has more than " + Model.maxReasonBytes + " bytes");
    return bytes;
  },

  // What final call data do, read from the bytes alone: which act, and on what.
  readBack(data) {
    const act = ["approve", "withdraw", "revoke"].find((name) => data.startsWith(Model.selectors[name]));
    if (!act || !/^0x[0-9a-f]+$/.test(data)) throw new Error("These call data are of no act that this page knows.");
    const words = data.slice(10).match(/.{1,64}/g) ?? [];
    if (act === "withdraw") return { act, study: "0x" + words.join("") };
    if (act === "revoke") {
      const bytes = Uint8Array.from(words.slice(2).join("").slice(0, 2 * Number("0x" + words[1])).match(/../g) ?? [], (one) => parseInt(one, 16));
      return { act, reason: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) };
    }
    const heads = words.slice(1);
    const content = Model.structs.Study.map(([name, type], index) => {
      if (type === "bytes32[]") return [name, heads.slice(1 + Model.structs.Study.length).map((one) => "0x" + one)];
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
  typedData(primaryType, message, { chain, consortium }) {
    const named = (fields) => fields.map(([name, type]) => ({ name, type }));
    const inside = Model.structs[primaryType].map(([, type]) => type).filter((type) => type in Model.structs);
    return {
      domain: { ...Model.domain, chainId: Number(chain), verifyingContract: consortium },
      primaryType,
      types: {
        EIP712Domain: named(Model.domainFields),
        ...Object.fromEntries([primaryType, ...inside].map((struct) => [struct, named(Model.structs[struct])])),
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
