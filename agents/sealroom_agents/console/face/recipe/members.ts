// SPDX-License-Identifier: Apache-2.0
// Reading a section of a recipe, member by member. Twin of `sealroom.privacy.members`.
import type { Fraction } from "../base/decimals.ts";
import { parseDecimal } from "../base/decimals.ts";
import type { Json } from "../base/encoding.ts";
import { Fields } from "../base/encoding.ts";
import { columnName } from "../base/names.ts";
import { Refusal, refuse } from "../base/refusal.ts";

export const MAX_DECIMALS = 12;
/** The declared labels of each group. */
export type Groups = ReadonlyMap<string, readonly string[]>;

export const boundsError = (message: string): never => refuse("recipe-bounds", message);

/** Mappings by name: what a kind declares has this one order. */
export const ordered = (value: Json): Json => {
  if (Array.isArray(value)) return value.map(ordered);
  if (!(value instanceof Map)) return value;
  return new Map([...value].sort(([one], [other]) => (one < other ? -1 : 1)).map(([name, item]) => [name, ordered(item)]));
};

export class Members extends Fields {
  constructor(
    value: Json | undefined,
    what: string,
    code?: string,
    /** Blocks of people of the recipe; `null` where it has none. */
    readonly blocks: number | null = null,
  ) {
    super(value, what, code ?? "recipe-malformed", code ?? "recipe-unknown-field");
  }

  decimal(name: string): Fraction {
    return this.wrong(name, this.raw(name), parseDecimal);
  }

  decimals(): number {
    return this.integer("decimals", 0, MAX_DECIMALS);
  }

  decimalList(name: string, limit: number): Fraction[] {
    return this.array(name, limit).map((item) => this.wrong(name, item, parseDecimal));
  }

  column(name: string): string {
    return this.wrong(name, this.raw(name), columnName);
  }

  columnList(name: string, limit: number): string[] {
    return this.array(name, limit).map((item) => this.wrong(name, item, columnName));
  }

  /** `lower` and `upper`, the one below the other. */
  range(): [Fraction, Fraction] {
    const [lower, upper] = [this.decimal("lower"), this.decimal("upper")];
    return lower.below(upper) ? [lower, upper] : boundsError("a lower bound is not below the upper one");
  }

  private wrong<T>(name: string, value: Json, read: (value: Json) => T): T {
    try {
      return read(value);
    } catch (error) {
      if (error instanceof Refusal) return this.fail(`has ${name} that is wrong: ${error.message}`);
      throw error;
    }
  }
}
