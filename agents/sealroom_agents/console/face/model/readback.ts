// SPDX-License-Identifier: Apache-2.0
// The second decoder: what final call data and final messages do, read from them alone. It shares neither code nor tables with
// what built them, knows the one form that each has, and refuses every other, so that nothing can stand beside the act.
import type { Hex } from "viem";

import type { Content, Signed } from "./calls.ts";

/** What call data or a message do. */
export type Deed =
  | { readonly act: "approve"; readonly content: Content; readonly by: readonly Signed[] }
  | { readonly act: "withdraw"; readonly study: string }
  | { readonly act: "revoke"; readonly reason: string };

/** The functions by their selectors. */
export const selectors = {
  approve: "0x20f17f75",
  withdraw: "0x8e19899e",
  revoke: "0x65b2a863",
} as const;

const STUDY = "Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,uint32[] versions,uint64 epsilonMicro,uint64 deltaPico,uint32 maxRuns,uint64 expiry,bytes32 basis,uint64 nonce)";

/** The messages by their primary type: EIP-712's text of the type. */
export const messages: Readonly<Record<string, string>> = {
  ApproveStudy: "ApproveStudy(address owner,Study study)" + STUDY,
  Withdraw: "Withdraw(address owner,bytes32 proposal)",
  Revoke: "Revoke(address owner,string reason,uint64 returns)",
};

const DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const WORD = 64;
const MOST_WORDS = 4096;
const LAST_FIXED = 11;

const odd = (): never => {
  throw new Error("not in the one form that it has");
};

/** Words of 32 bytes, read one after the other. */
class Words {
  #at = 0;
  readonly #hex: string;

  constructor(hex: string) {
    if (!/^([0-9a-f]{64})*$/.test(hex) || hex.length > MOST_WORDS * WORD) odd();
    this.#hex = hex;
  }

  /** Bytes read so far. */
  get at(): number {
    return this.#at / 2;
  }

  word(): string {
    const word = this.#hex.slice(this.#at, this.#at + WORD);
    this.#at += WORD;
    return word.length === WORD ? word : odd();
  }

  hash(): Hex {
    return ("0x" + this.word()) as Hex;
  }

  number(bits: number): bigint {
    const found = BigInt("0x" + this.word());
    return found < 2n ** BigInt(bits) ? found : odd();
  }

  count(): number {
    return Number(this.number(16));
  }

  address(): Hex {
    const word = this.word();
    return word.startsWith("0".repeat(24)) ? (("0x" + word.slice(24)) as Hex) : odd();
  }

  /** What must stand here: where a part begins is never the caller's choice. */
  place(bytes: number): void {
    if (this.number(64) !== BigInt(bytes)) odd();
  }

  bytes(): string {
    const length = this.count();
    let found = "";
    for (let left = length; left > 0; left -= 32) found += this.word();
    return /^0*$/.test(found.slice(2 * length)) ? found.slice(0, 2 * length) : odd();
  }

  list<T>(read: () => T): T[] {
    return Array.from({ length: this.count() }, read);
  }

  end(): void {
    if (this.#at !== this.#hex.length) odd();
  }
}

const study = (words: Words): Content => {
  const start = words.at;
  const [composeHash, outputHash, privacyHash] = [words.hash(), words.hash(), words.hash()];
  words.place(LAST_FIXED * 32);
  const second = Number(words.number(32));
  const [epsilonMicro, deltaPico] = [String(words.number(64)), String(words.number(64))];
  const [maxRuns, expiry] = [String(words.number(32)), String(words.number(64))];
  const basis = words.hash();
  const nonce = String(words.number(64));
  const datasets = words.list(() => words.hash());
  if (words.at - start !== second) odd();
  const versions = words.list(() => String(words.number(32)));
  return { composeHash, outputHash, privacyHash, datasets, versions, epsilonMicro, deltaPico, maxRuns, expiry, basis, nonce };
};

const signed = (words: Words): Signed[] => {
  const count = words.count();
  const start = words.at;
  const places = Array.from({ length: count }, () => Number(words.number(32)));
  return places.map((place): Signed => {
    if (words.at - start !== place) odd();
    const owner = words.address();
    words.place(64);
    return { owner, signature: ("0x" + words.bytes()) as Hex };
  });
};

const readers: Readonly<Record<string, (words: Words) => Deed>> = {
  [selectors.approve]: (words) => {
    words.place(64);
    const second = Number(words.number(32));
    const content = study(words);
    if (words.at !== second) odd();
    return { act: "approve", content, by: signed(words) };
  },
  [selectors.withdraw]: (words) => ({ act: "withdraw", study: words.hash() }),
  [selectors.revoke]: (words) => {
    words.place(32);
    const bytes = words.bytes().match(/../g) ?? [];
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    return { act: "revoke", reason: text.decode(Uint8Array.from(bytes, (byte) => parseInt(byte, 16))) };
  },
};

/** What final call data do. Throws where they are of no act that this page knows, or hold anything beside it. */
export const readCall = (data: string): Deed => {
  const read = readers[data.slice(0, 10)];
  if (!read) throw new Error("These call data are of no act that this page knows.");
  try {
    const words = new Words(data.slice(10));
    const deed = read(words);
    words.end();
    return deed;
  } catch {
    throw new Error("These call data hold more, or less, than one act.");
  }
};

type Json = Readonly<Record<string, unknown>>;

const object = (value: unknown, ...names: readonly string[]): Json => {
  if (typeof value !== "object" || value === null || Object.keys(value).sort().join() !== [...names].sort().join()) odd();
  return value as Json;
};

const encoded = (types: Json, name: string): string => {
  const fields = types[name];
  if (!Array.isArray(fields)) return odd();
  return name + "(" + fields.map((field) => `${String(field.type)} ${String(field.name)}`).join() + ")";
};

const text = (value: unknown): string => (typeof value === "string" ? value : odd());

/** What a message says: the act, whose it is, and where it counts. */
export interface Said {
  readonly deed: Deed;
  readonly owner: string;
  readonly chain: string;
  readonly consortium: string;
  readonly returns: string;
}

const said = (given: unknown): Said => {
  const { domain, primaryType, types, message } = object(given, "domain", "primaryType", "types", "message");
  const name = text(primaryType);
  const inside = name === "ApproveStudy" ? [name, "Study"] : [name];
  const all = object(types, "EIP712Domain", ...inside);
  if (encoded(all, "EIP712Domain") !== DOMAIN || inside.map((one) => encoded(all, one)).join("") !== messages[name]) odd();
  const place = object(domain, "name", "version", "chainId", "verifyingContract");
  if (place.name !== "Sealroom Consortium" || place.version !== "2" || !Number.isSafeInteger(place.chainId)) odd();
  const at = { chain: String(place.chainId), consortium: text(place.verifyingContract), returns: "" };
  if (name === "ApproveStudy") {
    const { owner, study } = object(message, "owner", "study");
    const content = object(study, ...STUDY.slice(6, -1).split(",").map((field) => field.split(" ")[1] ?? "")) as unknown as Content;
    return { ...at, owner: text(owner), deed: { act: "approve", content, by: [] } };
  }
  if (name === "Withdraw") {
    const { owner, proposal } = object(message, "owner", "proposal");
    return { ...at, owner: text(owner), deed: { act: "withdraw", study: text(proposal) } };
  }
  const { owner, reason, returns } = object(message, "owner", "reason", "returns");
  return { ...at, owner: text(owner), returns: text(returns), deed: { act: "revoke", reason: text(reason) } };
};

/** What the final text of a message says, as the wallet gets it. */
export const readMessage = (json: string): Said => {
  try {
    return said(JSON.parse(json));
  } catch {
    throw new Error("This message is of no act that this page knows, or says more than one.");
  }
};
