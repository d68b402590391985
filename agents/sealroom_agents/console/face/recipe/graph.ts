// SPDX-License-Identifier: Apache-2.0
// The layers of a network, with the shapes of one sample; the weights that training starts from. Twin of
// `sealroom.training.graph`, `sealroom.training.initial` and `sealroom.training.checkpoints`.
import type { Bytes, Hex } from "../base/bytes.ts";
import { bigEndian, lengthPrefixed, lp, utf8 } from "../base/bytes.ts";
import { root } from "../base/decimals.ts";
import type { Json } from "../base/encoding.ts";
import { canonical } from "../base/encoding.ts";
import { sha256, shake256 } from "../base/hashes.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import type { Tensor } from "./kind.ts";
import { Members, boundsError } from "./members.ts";

export const MAX_LAYERS = 64;
const MAX_WEIGHTS = 100_000;
const MAX_SEALED_WEIGHTS = 4_000_000;
export const MAX_FAN_IN = 2047;
const MAX_VALUES = 65_536;
const MAX_POSITIONS = 4096;
const MAX_KERNELS = 8192;
const BARE = ["relu", "tanh", "sigmoid", "gelu", "silu", "flatten"];
const SIZED = ["linear", "conv2d", "avg_pool2d", "max_pool2d", "unflatten"];
const STEP_BITS = 24n;
const DOMAIN = "sealroom checkpoints v2";

const fail = (message: string): never => refuse("recipe-field", message);
const product = (shape: readonly number[]): number => shape.reduce((all, each) => all * each, 1);

interface Layer {
  name: string;
  before: readonly number[];
  after: readonly number[];
  kernel?: number;
}

const weighted = (layer: Layer): boolean => layer.name === "linear" || layer.name === "conv2d";
const fanIn = (layer: Layer): number => (layer.before[0] ?? 0) * (layer.name === "linear" ? 1 : (layer.kernel ?? 0) ** 2);
const weightsOf = (layer: Layer): number => (weighted(layer) ? (layer.after[0] ?? 0) * (fanIn(layer) + 1) : 0);

export class Graph {
  readonly weights: number;

  private constructor(
    readonly layers: readonly Layer[],
    private readonly plain: Json,
  ) {
    this.weights = layers.reduce((sum, layer) => sum + weightsOf(layer), 0);
  }

  /** Reads a list of layers for samples of so many inputs. `outputs` is `null` for a network that is computed alone. */
  static read(value: Json, inputs: number, outputs: number | null): Graph {
    if (!Array.isArray(value) || !value.length || value.length > MAX_LAYERS) return fail(`layers is not a list of 1 to ${MAX_LAYERS} layers`);
    if (inputs > MAX_VALUES) boundsError(`the network has ${inputs} inputs, more than ${MAX_VALUES}`);
    let shape: readonly number[] = [inputs];
    const layers = value.map((item, place) => {
      try {
        const layer = read(item, shape);
        if (product(layer.after) > MAX_VALUES) boundsError(`it gives more than ${MAX_VALUES} numbers`);
        shape = layer.after;
        return layer;
      } catch (error) {
        if (error instanceof Refusal) return refuse(error.code, `layer ${place + 1}: ${error.message}`);
        throw error;
      }
    });
    const graph = new Graph(layers, value);
    const last = layers[layers.length - 1];
    if (outputs !== null && (last?.name !== "linear" || shape.length !== 1 || shape[0] !== outputs)) {
      fail(`layer ${layers.length}: the last one must be linear, with ${outputs} outputs`);
    }
    const largest = outputs === null ? MAX_SEALED_WEIGHTS : MAX_WEIGHTS;
    return graph.weights > largest ? boundsError(`the network has ${graph.weights} weights, more than ${largest}`) : graph;
  }

  /** The shape of what the first so many layers give, and whether these have weights. */
  computed(depth: number | null): { outputs: readonly number[]; weights: number } {
    const held = this.layers.slice(0, depth ?? this.layers.length);
    return { outputs: held[held.length - 1]?.after ?? [], weights: held.reduce((sum, layer) => sum + weightsOf(layer), 0) };
  }

  /** The tensors of the weights in order. */
  tensors(): Tensor[] {
    return this.layers.flatMap((layer, place) => {
      if (!weighted(layer)) return [];
      const [out = 0, before = 0, kernel = 0] = [layer.after[0], layer.before[0], layer.kernel];
      const shape = layer.name === "linear" ? [out, before] : [out, before, kernel, kernel];
      return [{ name: `${place}.weight`, shape }, { name: `${place}.bias`, shape: [out] }];
    });
  }

  /** The head of the weights that training starts from. */
  firstHead(seed: number): Hex {
    return sha256(lp(DOMAIN, canonical(this.plain), this.initial(seed)));
  }

  private initial(seed: number): Bytes {
    const found = new DataView(new ArrayBuffer(4 * this.weights));
    let at = 0;
    this.layers.forEach((layer, place) => {
      const count = weightsOf(layer);
      if (!count) return;
      const drawn = shake256(lengthPrefixed(utf8("sealroom initial weights v1"), bigEndian(BigInt(seed), 8), bigEndian(BigInt(place), 8)), 4 * count);
      const held = new DataView(drawn.buffer, drawn.byteOffset, drawn.byteLength);
      const most = root((1n << (2n * STEP_BITS)) / BigInt(fanIn(layer)));
      for (let one = 0; one < count; one++, at += 4) {
        const steps = ((BigInt(held.getUint32(4 * one)) * (2n * most + 1n)) >> 32n) - most;
        found.setFloat32(at, Number(steps) / 2 ** Number(STEP_BITS), true);
      }
    });
    return new Uint8Array(found.buffer);
  }
}

/** The head after a step, counted from 1. */
export const nextHead = (step: number, previous: Bytes, weights: Bytes): Hex => sha256(lp(DOMAIN, BigInt(step), previous, weights));

const read = (item: Json, before: readonly number[]): Layer => {
  if (typeof item === "string") {
    if (!BARE.includes(item)) return fail("it is no layer, or has no size");
    return { name: item, before, after: item === "flatten" ? [product(before)] : before };
  }
  const [name, size] = item instanceof Map && item.size === 1 ? ([...item][0] ?? ["", null]) : fail("it is neither a name nor one name with a size");
  if (!SIZED.includes(name)) return fail("it is no layer");
  if (name === "linear") return linear(size, before);
  if (name === "unflatten") return unflatten(size, before);
  if (before.length !== 3) return fail(`${name} needs channels, height and width`);
  return name === "conv2d" ? conv2d(size, before) : pool(name, size, before);
};

const whole = (value: Json, name: string, low: number, high: number): number =>
  typeof value === "number" && value >= low && value <= high ? value : fail(`the size of ${name} is not a whole number from ${low} to ${high}`);

const checkFanIn = (layer: Layer): Layer =>
  fanIn(layer) > MAX_FAN_IN ? boundsError(`a number of ${layer.name} has ${fanIn(layer)} inputs, more than ${MAX_FAN_IN}`) : layer;

const linear = (size: Json, before: readonly number[]): Layer => {
  if (before.length !== 1) fail("linear needs a list of numbers");
  return checkFanIn({ name: "linear", before, after: [whole(size, "linear", 1, MAX_FAN_IN)] });
};

const unflatten = (size: Json, before: readonly number[]): Layer => {
  if (!Array.isArray(size) || size.length !== 3) return fail("unflatten is not a list of channels, height and width");
  const after = size.map((each) => whole(each, "unflatten", 1, MAX_VALUES));
  return product(after) === product(before) ? { name: "unflatten", before, after } : fail("unflatten makes another number of numbers");
};

const conv2d = (size: Json, before: readonly number[]): Layer => {
  const members = new Members(size, "conv2d", "recipe-field");
  const [channels, kernel] = [members.integer("channels", 1, 64), members.integer("kernel", 1, 64)];
  const [padding, stride] = [members.integer("padding", 0, 64), members.integer("stride", 1, 64)];
  members.done();
  const [height = 0, width = 0] = before.slice(1).map((edge) => Math.floor((edge + 2 * padding - kernel) / stride) + 1);
  if (Math.min(height, width) < 1 || padding >= kernel) fail(`conv2d of ${kernel} by ${kernel} does not fit`);
  const layer = checkFanIn({ name: "conv2d", before, after: [channels, height, width], kernel });
  if (height * width > MAX_POSITIONS || weightsOf(layer) > MAX_KERNELS) boundsError(`a conv2d has more than ${MAX_KERNELS} weights or ${MAX_POSITIONS} places`);
  return layer;
};

const pool = (name: string, size: Json, before: readonly number[]): Layer => {
  const kernel = whole(size, name, 2, 64);
  const [channels = 0, height = 0, width = 0] = before;
  if (height % kernel || width % kernel) fail(`${name} of ${kernel} does not divide what it gets`);
  return { name, before, after: [channels, height / kernel, width / kernel] };
};
