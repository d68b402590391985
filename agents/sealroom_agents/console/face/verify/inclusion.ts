// SPDX-License-Identifier: Apache-2.0
// What a block's hash proves: its header, and the receipt of one of its transactions. Twin of `sealroom_agents.inclusion`,
// which names the sources. Each byte that is read is bound to the hash by keccak256.
import type { Bytes, Hex } from "../base/bytes.ts";
import { concat, hex, numberOf, same } from "../base/bytes.ts";
import { keccak } from "../base/hashes.ts";
import { refuse } from "../base/refusal.ts";

const MAX_PATH_BYTES = 1 << 20;
const MAX_DEPTH = 6;
const MAX_ITEMS = 65_536;
const MAX_TOPICS = 4;
const [MIN_FIELDS, MAX_FIELDS] = [15, 32];
const [RECEIPTS_ROOT, NUMBER, TIME] = [5, 8, 11];
/** Types of receipts, and how many fields they have: an OP Stack deposit has up to two more behind. */
const TYPES: ReadonlyMap<number, readonly number[]> = new Map([[0, [4]], [1, [4]], [2, [4]], [3, [4]], [4, [4]], [0x7e, [4, 5, 6]]]);

type Rlp = Bytes | Rlp[];

export interface Header {
  hash: Hex;
  number: bigint;
  /** Unix seconds. */
  time: bigint;
  receiptsRoot: Bytes;
}

/** One log of a receipt. */
export interface ReceiptLog {
  address: Hex;
  topics: readonly Bytes[];
  data: Bytes;
}

const broken = (what: string): never => refuse("proof-broken", what);

/** Reads a block's header. */
export const readHeader = (data: Bytes): Header => {
  const fields = decode(data);
  if (!Array.isArray(fields) || fields.length < MIN_FIELDS || fields.length > MAX_FIELDS) return broken("the header of a block is none");
  return {
    hash: hex(keccak(data)),
    number: whole(fields[NUMBER]),
    time: whole(fields[TIME]),
    receiptsRoot: bytes(fields[RECEIPTS_ROOT], 32),
  };
};

/** The logs of a transaction that succeeded, from the root of its block's receipts. */
export const readReceipt = async (root: Bytes, index: bigint, packed: Bytes): Promise<ReceiptLog[]> => {
  const nodes = decode(await unpack(packed));
  if (!Array.isArray(nodes) || nodes.some(Array.isArray)) return broken("a path is no list of nodes");
  const receipt = walk(root, trieKey(index), nodes as Bytes[]);
  const first = receipt[0] ?? 0x80;
  const kind = first < 0x80 ? first : 0;
  const body = decode(kind ? receipt.subarray(1) : receipt);
  if (!Array.isArray(body) || !TYPES.get(kind)?.includes(body.length)) return broken(`a receipt of type ${kind} has another form`);
  if (!same(bytes(body[0]), new Uint8Array([1]))) broken("the transaction failed");
  return list(body[3]).map(log);
};

/** Key of a receipt in its trie: RLP of its place in the block. */
const trieKey = (index: bigint): Bytes => {
  const text = index === 0n ? "" : index.toString(16);
  const raw = Uint8Array.from((text.length % 2 ? "0" + text : text).match(/../g) ?? [], (pair) => parseInt(pair, 16));
  return raw.length === 1 && (raw[0] ?? 0) < 0x80 ? raw : concat(new Uint8Array([0x80 + raw.length]), raw);
};

/** The one stream in `packed`, without reading more of it than a path may have. */
const unpack = async (packed: Bytes): Promise<Bytes> => {
  const stream = new Blob([packed as BlobPart]).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader();
  const parts: Bytes[] = [];
  let length = 0;
  for (;;) {
    let next: ReadableStreamReadResult<Bytes>;
    try {
      next = await reader.read();
    } catch {
      return broken("a path is not packed by zlib, is cut, or has more behind it");
    }
    if (next.done) return concat(...parts);
    parts.push(next.value);
    length += next.value.length;
    if (length > MAX_PATH_BYTES) {
      await reader.cancel();
      return broken("a path is too long");
    }
  }
};

// --- tries -----------------------------------------------------------------------------------------------------------

/** The value under `key`: each node is the one that the node above names, and all are used. */
const walk = (root: Bytes, key: Bytes, nodes: readonly Bytes[]): Bytes => {
  let left = nibbles(key);
  let below: Rlp = root;
  let at = 0;
  let value: Bytes;
  for (;;) {
    const node: Rlp[] = Array.isArray(below) ? below : named(below, nodes[at++]);
    if (node.length === 17) {
      const [next, ...rest] = left;
      if (next === undefined) {
        value = bytes(node[16]);
        break;
      }
      [below, left] = [node[next] ?? broken("a node of a path has another form"), rest];
    } else if (node.length === 2) {
      const [flag = 8, ...rest] = nibbles(bytes(node[0]));
      const odd = (flag & 1) === 1;
      if (flag > 3 || (!odd && rest[0] !== 0)) broken("a node of a path has another form");
      const part = odd ? rest : rest.slice(1);
      if (left.slice(0, part.length).join() !== part.join()) broken("a path leads to another receipt");
      left = left.slice(part.length);
      below = node[1] ?? broken("a node of a path has another form");
      if (flag & 2) {
        value = bytes(below);
        break;
      }
    } else return broken("a node of a path has another form");
  }
  return left.length || !value.length || at < nodes.length ? broken("a path does not end at the receipt") : value;
};

const named = (name: Bytes, data: Bytes | undefined): Rlp[] => {
  if (!data || name.length !== 32 || !same(keccak(data), name)) return broken("a node of a path is not the one that is named above it");
  return list(decode(data));
};

const nibbles = (data: Bytes): number[] => [...data].flatMap((byte) => [byte >> 4, byte & 15]);

// --- RLP -------------------------------------------------------------------------------------------------------------

/** Reads RLP in its one form. */
const decode = (data: Bytes): Rlp => {
  const [item, end] = itemOf(data, 0, MAX_DEPTH, { items: MAX_ITEMS });
  return end === data.length ? item : broken("RLP has bytes behind it");
};

/** The item that begins at `at`, and where it ends. `left`: how many more may follow. */
const itemOf = (data: Bytes, at: number, depth: number, left: { items: number }): [Rlp, number] => {
  if (--left.items < 0) broken(`RLP has more than ${MAX_ITEMS} items`);
  const first = data[at] ?? broken("RLP is cut");
  if (first < 0x80) return [data.subarray(at, at + 1), at + 1];
  const base = first >= 0xc0 ? 0xc0 : 0x80;
  let begin = at + 1;
  let length = first - base;
  if (length > 55) {
    begin += length - 55;
    const size = data.subarray(at + 1, begin);
    length = Number(numberOf(size));
    if (!size.length || size[0] === 0 || length <= 55) broken("RLP is in another form than the one");
  }
  const end = begin + length;
  if (end > data.length) broken("RLP is cut");
  if (base === 0x80) {
    if (length === 1 && (data[begin] ?? 0) < 0x80) broken("RLP is in another form than the one");
    return [data.subarray(begin, end), end];
  }
  if (depth === 0) broken("RLP is nested too deeply");
  const items: Rlp[] = [];
  while (begin < end) {
    const [item, next] = itemOf(data, begin, depth - 1, left);
    items.push(item);
    begin = next;
  }
  return begin === end ? [items, end] : broken("RLP is cut");
};

const log = (item: Rlp): ReceiptLog => {
  const fields = list(item);
  const topics = fields.length === 3 ? list(fields[1]) : broken("a log has another form");
  if (topics.length > MAX_TOPICS) broken("a log has another form");
  return { address: hex(bytes(fields[0], 20)), topics: topics.map((topic) => bytes(topic, 32)), data: bytes(fields[2]) };
};

const list = (item: Rlp | undefined): Rlp[] => (Array.isArray(item) ? item : broken("RLP has bytes where a list must be"));

const bytes = (item: Rlp | undefined, size?: number): Bytes =>
  item instanceof Uint8Array && (size === undefined || item.length === size) ? item : broken("RLP has something else where bytes must be");

const whole = (item: Rlp | undefined): bigint => {
  const raw = bytes(item);
  return raw.length > 8 || raw[0] === 0 ? broken("a number of a header has another form") : numberOf(raw);
};
