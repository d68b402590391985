// SPDX-License-Identifier: Apache-2.0
// Keccak-256 as Ethereum uses it (the Keccak submission's padding, not that of SHA-3), and EIP-712's hash of a structure.
"use strict";

const Keccak = (() => {
  const MASK = (1n << 64n) - 1n;
  const RATE = 136;
  const left = (lane, by) => ((lane << by) | (lane >> (64n - by))) & MASK;

  // Round constants by the submission's linear feedback shift register; rotations and places by its recurrences.
  const CONSTANTS = [];
  for (let round = 0, register = 1; round < 24; round++) {
    let constant = 0n;
    for (let bit = 0; bit < 7; bit++) {
      if (register & 1) constant |= 1n << ((1n << BigInt(bit)) - 1n);
      register = register & 0x80 ? (register << 1) ^ 0x171 : register << 1;
    }
    CONSTANTS.push(constant);
  }
  const STEPS = [];
  for (let step = 0, x = 1, y = 0; step < 24; step++) {
    STEPS.push([x + 5 * y, BigInt((((step + 1) * (step + 2)) / 2) % 64)]);
    [x, y] = [y, (2 * x + 3 * y) % 5];
  }

  const permute = (lanes) => {
    for (const constant of CONSTANTS) {
      const columns = [0, 1, 2, 3, 4].map((x) => lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20]);
      for (let at = 0; at < 25; at++) lanes[at] ^= columns[(at + 4) % 5] ^ left(columns[(at + 1) % 5], 1n);
      let moved = lanes[1];
      STEPS.forEach(([, by], step) => {
        const to = STEPS[(step + 1) % 24][0];
        [moved, lanes[to]] = [lanes[to], left(moved, by)];
      });
      for (let row = 0; row < 25; row += 5) {
        const before = lanes.slice(row, row + 5);
        for (let x = 0; x < 5; x++) lanes[row + x] = before[x] ^ (~before[(x + 1) % 5] & MASK & before[(x + 2) % 5]);
      }
      lanes[0] ^= constant;
    }
  };

  // Hex of the digest of hex bytes, without 0x on either side.
  const hash = (hex) => {
    const bytes = (hex.match(/../g) ?? []).map((pair) => parseInt(pair, 16));
    const padded = new Array(RATE * (Math.floor(bytes.length / RATE) + 1)).fill(0);
    bytes.forEach((byte, index) => (padded[index] = byte));
    padded[bytes.length] ^= 0x01;
    padded[padded.length - 1] ^= 0x80;
    const lanes = new Array(25).fill(0n);
    for (let block = 0; block < padded.length; block += RATE) {
      for (let at = 0; at < RATE; at++) lanes[at >> 3] ^= BigInt(padded[block + at]) << BigInt(8 * (at & 7));
      permute(lanes);
    }
    return Array.from({ length: 32 }, (_, at) => Number((lanes[at >> 3] >> BigInt(8 * (at & 7))) & 255n).toString(16).padStart(2, "0")).join("");
  };

  const text = (value) => hash(Calldata.hex(new TextEncoder().encode(value)));

  const inner = (type) => type.replace("[]", "");

  const structsIn = (struct, found = new Set()) => {
    for (const [, type] of Model.structs[struct]) {
      if (!(inner(type) in Model.structs) || found.has(inner(type))) continue;
      structsIn(inner(type), found.add(inner(type)));
    }
    return found;
  };

  const encodeType = (struct) =>
    [struct, ...[...structsIn(struct)].sort()].map((one) => one + "(" + Model.structs[one].map(([name, type]) => type + " " + name).join(",") + ")").join("");

  const word = (type, value) => {
    if (type.endsWith("[]")) return hash(value.map((item) => word(inner(type), item)).join(""));
    if (type in Model.structs) return struct(type, value).slice(2);
    if (type === "string") return text(value);
    if (type.startsWith("uint")) return Calldata.word(value);
    const digits = value.slice(2).toLowerCase();
    return type.startsWith("bytes") ? digits.padEnd(64, "0") : digits.padStart(64, "0");
  };

  // EIP-712's hashStruct, as 0x hex: the id of what is proposed.
  const struct = (name, value) =>
    "0x" + hash(text(encodeType(name)) + Model.structs[name].map(([field, type]) => word(type, value[field])).join(""));

  // What a wallet signs of typed data, as 0x hex: EIP-712's digest.
  const digest = ({ domain, primaryType, message }) => {
    const type = "EIP712Domain(" + Model.domainFields.map(([field, kind]) => kind + " " + field).join(",") + ")";
    const separator = hash(text(type) + Model.domainFields.map(([field, kind]) => word(kind, domain[field])).join(""));
    return "0x" + hash("1901" + separator + struct(primaryType, message).slice(2));
  };

  return Object.freeze({ hash, struct, digest });
})();
