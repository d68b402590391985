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
    const isNumber = (value, bits) => /^(0|[1-9][0-9]{0,19})$/.test(value) && BigInt(value) < 2n ** BigInt(bits);
    const fields = Model.structs.Study.map(([name, type]) => {
      const value = given[name];
      const inner = type.replace("[]", "");
      const fits = (one) => typeof one === "string" && (inner === "bytes32" ? Calldata.isHash(one) : isNumber(one, inner.slice(4)));
      if (type.endsWith("[]") ? !(Array.isArray(value) && value.every(fits)) : !fits(value)) throw new Error(name + " is no " + type);
      return [name, Array.isArray(value) ? Object.freeze([...value]) : value];
    });
    const content = Object.freeze(Object.fromEntries(fields));
    if (content.versions.length !== content.datasets.length) throw new Error("the versions are not those of the datasets");
    return content;
  },

  // The id that a content has: EIP-712's hash of it.
  studyId(content) {
    return Keccak.struct("Study", content);
  },

  // A structure with lists: its fixed words, each list's place among them, then the lists.
  study(content) {
    const word = (type, value) => (type === "bytes32" ? value.slice(2) : Calldata.word(value));
    let place = 32 * Model.structs.Study.length;
    const tails = [];
    const heads = Model.structs.Study.map(([name, type]) => {
      if (!type.endsWith("[]")) return word(type, content[name]);
      const head = Calldata.word(place);
      tails.push(Calldata.word(content[name].length), ...content[name].map((one) => word(type.replace("[]", ""), one)));
      place += 32 * (content[name].length + 1);
      return head;
    });
    return heads.join("") + tails.join("");
  },

  // The caller's own vote: the list of others' signatures is empty.
  approve(content) {
    const study = Calldata.study(content);
    return Model.selectors.approve + Calldata.word(64) + Calldata.word(64 + study.length / 2) + study + Calldata.word(0);
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
    const number = (word) => BigInt("0x" + word).toString();
    const read = (type, word) => (type === "bytes32" ? "0x" + word : number(word));
    const heads = words.slice(Number(number(words[0])) / 32);
    const content = Model.structs.Study.map(([name, type], index) => {
      if (!type.endsWith("[]")) return [name, read(type, heads[index])];
      const list = heads.slice(Number(number(heads[index])) / 32);
      return [name, list.slice(1, 1 + Number(number(list[0]))).map((one) => read(type.replace("[]", ""), one))];
    });
    // What stands in the bytes beside the content would be others' signatures, and somebody else's act.
    if (Calldata.approve(Object.fromEntries(content)) !== data) throw new Error("These call data hold more than one owner’s approval.");
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
