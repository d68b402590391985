// SPDX-License-Identifier: Apache-2.0
// The model file: a network's weights as safetensors, with the envelope that signs them. Twin of
// `sealroom_agents.verification.model_file` and `sealroom.safetensors`. There is one file of an envelope and a model.
import type { Bytes } from "../base/bytes.ts";
import { concat, hex, same, utf8 } from "../base/bytes.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { canonical, object, strictJson } from "../base/encoding.ts";
import type { Envelope } from "./envelope.ts";
import { parseEnvelope } from "./envelope.ts";
import { sha256 } from "../base/hashes.ts";
import { parseRecipe } from "../recipe/recipe.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import type { ReleasedModel } from "./released_model.ts";
import { checkChain, modelsOf } from "./released_model.ts";
import { checkResult } from "./result.ts";
import type { Link } from "./walk.ts";
import { broken } from "./walk.ts";

const KEY = "sealroom";
const METADATA = "__metadata__";
const LENGTH_BYTES = 8;
const MAX_HEADER_BYTES = 12 * 1024 * 1024;
export const MAX_MODEL_BYTES = MAX_HEADER_BYTES + 8 * 1024 * 1024;
const MAX_TENSORS = 1024;
const MAX_DIMENSIONS = 8;
const SIZES: Readonly<Record<string, number>> = {
  BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, I16: 2, U16: 2, F16: 2, BF16: 2, I32: 4, U32: 4, F32: 4, I64: 8, U64: 8, F64: 8,
};

const malformed = (what: string): never => refuse("model-malformed", `this is no model file of ours: ${what}`);

interface Stored {
  name: string;
  dtype: string;
  shape: readonly number[];
  begin: number;
  end: number;
}

/** A model file in the one form, whose weights are still to check. */
export interface ModelFile {
  envelope: Envelope;
  model: ReleasedModel;
  weights: Bytes;
}

const sizeOf = (data: Bytes): bigint => data.subarray(0, LENGTH_BYTES).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

/** Whether this is a file of tensors, and not an envelope: JSON begins with no length of itself. */
export const isModelFile = (data: Bytes): boolean => sizeOf(data) <= BigInt(data.length - LENGTH_BYTES);

const whole = (value: Json | undefined): number[] => (Array.isArray(value) && value.every((each) => typeof each === "number" && each >= 0) ? (value as number[]) : malformed("a tensor with a shape or places that are none"));

const stored = (name: string, tensor: Json): Stored => {
  if (!(tensor instanceof Map) || [...tensor.keys()].sort().join() !== "data_offsets,dtype,shape") return malformed("a tensor is not described by dtype, shape and data_offsets");
  const [dtype, shape, offsets] = [tensor.get("dtype"), whole(tensor.get("shape")), whole(tensor.get("data_offsets"))];
  const [begin = 0, end = 0] = offsets;
  if (typeof dtype !== "string" || !Object.hasOwn(SIZES, dtype)) return malformed("a tensor has an unknown type");
  if (shape.length > MAX_DIMENSIONS || offsets.length !== 2) malformed("a tensor has a shape or places that are none");
  if (end - begin !== shape.reduce((all, each) => all * each, 1) * (SIZES[dtype] ?? 0)) malformed("a tensor has other data than its type and shape say");
  return { name, dtype, shape, begin, end };
};

const readFile = (data: Bytes): { text: string; tensors: Stored[]; weights: Bytes } => {
  const size = Number(sizeOf(data));
  if (data.length < LENGTH_BYTES || size > Math.min(MAX_HEADER_BYTES, data.length - LENGTH_BYTES)) malformed("its header is longer than the file, or than any header may be");
  const begin = LENGTH_BYTES + size;
  const header = data.subarray(LENGTH_BYTES, begin);
  let written: JsonObject;
  try {
    written = strictJson(header, MAX_HEADER_BYTES);
  } catch (error) {
    if (error instanceof Refusal) return malformed(error.message);
    throw error;
  }
  const metadata = written.get(METADATA);
  const names = [...written.keys()].filter((name) => name !== METADATA);
  if (names.length > MAX_TENSORS) malformed(`it has more than ${MAX_TENSORS} tensors`);
  const tensors = names.map((name) => stored(name, written.get(name) ?? null)).sort((one, other) => one.begin - other.begin || one.end - other.end);
  let end = 0;
  for (const tensor of tensors) {
    if (tensor.begin !== end) malformed("the data of a tensor do not begin where the last ones end");
    end = tensor.end;
  }
  if (begin + end !== data.length) malformed("something follows its tensors, or something of them is missing");
  const text = metadata instanceof Map && metadata.size === 1 ? metadata.get(KEY) : null;
  if (typeof text !== "string") return malformed(`its metadata must have the key ${KEY} alone`);
  const again = utf8(canonical(written));
  const filled = concat(again, new Uint8Array((8 - (again.length % 8)) % 8).fill(0x20));
  if (!same(filled, header)) malformed("its header is not in the one accepted form");
  return { text, tensors, weights: data.subarray(begin) };
};

/** Reads a model file: another form is `model-malformed`, other tensors than its envelope's `model-mismatch`. */
export const readModel = (data: Bytes): ModelFile => {
  if (data.length > MAX_MODEL_BYTES) refuse("model-malformed", "the file has more bytes than any model file");
  const { text, tensors, weights } = readFile(data);
  const envelope = parseEnvelope(utf8(text));
  if (canonical(envelope.json) !== text) malformed("the envelope in it is not in canonical form");
  const recipe = parseRecipe(envelope.recipe);
  checkResult(envelope.result, recipe);
  const table = (held: readonly { name: string; dtype?: string; shape: readonly number[] }[]): string => canonical(held.map((each): Json => object({ name: each.name, dtype: each.dtype ?? "F32", shape: [...each.shape] })));
  const alike = modelsOf(envelope.result, recipe).filter((each) => table(each.tensors) === table(tensors));
  const model = alike.find((each) => same(each.weights, weights)) ?? alike[0];
  return model ? { envelope, model, weights } : refuse("model-mismatch", "the tensors of the file have other names or shapes than those that its envelope signs");
};

/** The two links that bind a file's weights to its envelope, whether or not the first one holds. */
export const modelLinks = ({ model, weights }: ModelFile): Link[] => {
  const digest = sha256(model.weights);
  const link = (name: string, check: () => void, detail: string): Link => {
    try {
      check();
      return { name, ok: true, detail, code: null, check: null, blocks: [], unsaid: [] };
    } catch (error) {
      if (error instanceof Refusal) return broken(name, `model.${name}`, error);
      throw error;
    }
  };
  const numbers = (model.weights.length / 4).toLocaleString("en");
  return [
    link(
      "weights",
      () => {
        if (!same(weights, model.weights)) refuse("model-mismatch", `the weights are ${sha256(weights)}, and the envelope signs ${digest} for ${model.field}`);
      },
      `${numbers} numbers of the field ${model.field}, sha256 ${digest}, as the envelope in the file has them`,
    ),
    link("checkpoints", () => checkChain(model, weights), `a chain of ${model.steps.toLocaleString("en")} checkpoints ends in these weights, head ${hex(model.head)}`),
  ];
};

