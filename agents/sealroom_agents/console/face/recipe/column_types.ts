// SPDX-License-Identifier: Apache-2.0
// The types of columns, as recipes write them, and whether what fields read fits them. Twin of `sealroom.schema` and of
// `sealroom.recipe.column_use`.
import type { Hex } from "../base/bytes.ts";
import { characters, utf8 } from "../base/bytes.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { canonical, object } from "../base/encoding.ts";
import { sha256 } from "../base/hashes.ts";
import { columnName, visible } from "../base/names.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import type { Columns } from "./kind.ts";
import type { Groups } from "./members.ts";

const PLAIN_TYPE = /^(?:u?int(?:8|16|32|64)|float(?:16|32|64)|bool|string|binary|date|time\((?:ms|us|ns)\)|timestamp\((?:ms|us|ns)(?:, UTC)?\))$/;
const SIZED_TYPE = /^(?:decimal\(([1-9][0-9]?), (0|[1-9][0-9]?)\)|binary\(([1-9][0-9]{0,3})\))$/;
const UNIT = /^(?:u?int(?:8|16|32|64)|string)$/;
const NUMBER = /^(?:u?int(?:8|16|32|64)|float(?:16|32|64)|decimal\(.*\)|bool)$/;
const GROUP = /^(?:u?int(?:8|16|32|64)|string|category|bool)$/;
const INTEGER = /^(u?)int(8|16|32|64)$/;
const MOST_COLUMNS = 16384;
const MOST_NESTING = 4;
const MOST_VALUES = 4096;
const MOST_FIELDS = 1024;
const TRUTHS = [new Set(["true", "false"]), new Set(["True", "False"])];

export interface Schema {
  unit: string;
  columns: ReadonlyMap<string, Json>;
  plain: JsonObject;
}

const malformed = (message: string): never => refuse("recipe-malformed", message);

const isPlain = (text: string): boolean => {
  const [, precision, scale, length] = SIZED_TYPE.exec(text) ?? [];
  if (length) return Number(length) <= 4096;
  return precision ? Number(precision) <= 76 && Number(scale) <= Number(precision) : PLAIN_TYPE.test(text);
};

const named = (value: Json | undefined, what: string, nesting: number): JsonObject => {
  if (!(value instanceof Map) || !value.size) return malformed(`${what} has no columns`);
  const seen = new Set<string>();
  const held: JsonObject = new Map();
  for (const [name, kind] of value) {
    try {
      seen.add(columnName(name).toLowerCase());
    } catch (error) {
      if (error instanceof Refusal) return malformed(error.message);
      throw error;
    }
    held.set(name, readType(kind, nesting));
  }
  return seen.size === value.size ? held : malformed(`${what} has a column twice, in whatever case`);
};

/** A column's type in its one written form: a text, or a mapping where a text does not say it. */
const readType = (value: Json | undefined, nesting: number): Json => {
  if (typeof value === "string") return isPlain(value) ? value : malformed("a column has a type that is none");
  if (!(value instanceof Map)) return malformed("a column has a type that is none");
  const names = [...value.keys()].filter((name) => name !== "nullable").sort().join();
  const type = value.get("type") ?? null;
  const nullable = value.get("nullable") ?? true;
  if (typeof nullable !== "boolean") malformed("a column has a type that is none");
  if ((type === "list" || type === "struct") && nesting === 0) malformed("lists and structs lie too deep");
  const written = (more: Record<string, Json>): JsonObject => object({ type, ...more, ...(nullable ? {} : { nullable }) });
  if (type === "list" && names === "of,type") return written({ of: readType(value.get("of"), nesting - 1) });
  if (type === "struct" && names === "fields,type") {
    const fields = named(value.get("fields"), "a struct", nesting - 1);
    return fields.size <= MOST_FIELDS ? written({ fields }) : malformed("a struct has too many fields");
  }
  if (type === "category" && names === "type,values") {
    const values = value.get("values") ?? null;
    const fits = Array.isArray(values) && values.length && values.length <= MOST_VALUES && new Set(values).size === values.length;
    const short = fits && values.every((one) => typeof one === "string" && one && characters(one) <= 64 && visible(one));
    return short ? written({ values }) : malformed("a category is not what it must be");
  }
  if (names !== "type" || typeof type !== "string" || !isPlain(type)) return malformed("a column has a type that is none");
  return nullable ? type : written({});
};

const leaves = (kind: Json | undefined): number => {
  if (!(kind instanceof Map)) return 1;
  if (kind.get("type") === "list") return leaves(kind.get("of"));
  const fields = kind.get("fields");
  return fields instanceof Map ? [...fields.values()].reduce<number>((all, one) => all + leaves(one), 0) : 1;
};

/** A type as files have it, and without a word on nulls. */
const bare = (kind: Json | undefined): Json => {
  if (!(kind instanceof Map)) return kind ?? null;
  const [type, fields] = [kind.get("type") ?? null, kind.get("fields")];
  if (type === "list") return object({ type, of: bare(kind.get("of")) });
  if (fields instanceof Map) return object({ type, fields: new Map([...fields].map(([name, one]) => [name, bare(one)])) });
  return type === "category" ? "string" : type;
};

/** SHA-256 of what its owner registered of a dataset's columns: [name, type], sorted by name. Of files, it has none. */
export const schemaHash = (columns: ReadonlyMap<string, Json>): Hex => {
  const told = [...columns].map(([name, kind]): [string, Json] => [name, bare(kind)]);
  return sha256(utf8(canonical(told.sort(([one], [other]) => (one < other ? -1 : 1)))));
};

const nameOf = (kind: Json | undefined): string => (kind instanceof Map ? String(kind.get("type")) : String(kind));

export const readSchemas = (value: JsonObject): Map<string, Schema> =>
  new Map(
    [...value].map(([name, schema]): [string, Schema] => {
      if (!(schema instanceof Map)) return malformed(`the schema ${name} must be an object`);
      for (const member of schema.keys()) if (member !== "unit" && member !== "columns") refuse("recipe-unknown-field", `the schema ${name} has an unknown field`);
      const columns = named(schema.get("columns"), "a schema", MOST_NESTING);
      if ([...columns.values()].reduce<number>((all, kind) => all + leaves(kind), 0) > MOST_COLUMNS) malformed("a schema has too many columns");
      const unit = schema.get("unit");
      if (typeof unit !== "string") return malformed(`the schema ${name} lacks unit`);
      const kind = columns.get(unit);
      if (kind === undefined) return refuse("recipe-unit", `the schema ${name} lacks ${unit}, its column of the person`);
      if (!UNIT.test(nameOf(kind))) return refuse("recipe-unit", `${unit}, the column of the person in the schema ${name}, must be a whole number or a string`);
      return [name, { unit, columns, plain: new Map<string, Json>([["unit", unit], ["columns", columns]]) }];
    }),
  );

/** The column of the person is the same, of one type, in all schemas. */
export const checkUnit = (schemas: readonly Schema[]): void => {
  const units = new Set(schemas.map((schema) => schema.unit));
  if (units.size > 1) refuse("recipe-unit", "the column of the person has two names");
  oneType([...units][0] ?? "", schemas, "recipe-unit", "the column of the person");
};

/** One text for each type: structs whose fields stand in another order are two types. */
const inOrder = (kind: Json): string => JSON.stringify(bare(kind), (_, value: Json) => (value instanceof Map ? [...value] : value));

const oneType = (name: string, schemas: readonly Schema[], code: string, what: string): Json | undefined => {
  const kinds = schemas.flatMap((schema) => schema.columns.get(name) ?? []);
  if (new Set(kinds.map(inOrder)).size > 1) refuse(code, `${name}, ${what}, has two types`);
  return kinds[0];
};

/** Each column that a field reads, against its declared types. Columns that no schema has are the script's own. */
export const checkColumns = (schemas: readonly Schema[], uses: readonly { by: string; columns: Columns }[], groups: Groups): void => {
  checkUnit(schemas);
  for (const { by, columns } of uses) {
    for (const name of columns.numbers) {
      const kind = oneType(name, schemas, "recipe-column", `a number of ${by}`);
      if (kind !== undefined && !NUMBER.test(nameOf(kind))) refuse("recipe-column", `${name}, a number of ${by}, is ${nameOf(kind)}`);
    }
    for (const name of columns.groups) {
      const kind = oneType(name, schemas, "recipe-column", `a group of ${by}`);
      if (kind === undefined) continue;
      if (!GROUP.test(nameOf(kind))) refuse("recipe-column", `${name}, a group of ${by}, is ${nameOf(kind)}`);
      checkKeys(name, kind, groups.get(name) ?? []);
    }
    for (const [name] of columns.vectors) {
      const kind = oneType(name, schemas, "recipe-column", `a list of ${by}`);
      if (kind !== undefined && !(kind instanceof Map && kind.get("type") === "list" && NUMBER.test(nameOf(kind.get("of"))))) {
        refuse("recipe-column", `${name}, a list of ${by}, must be a list of numbers`);
      }
    }
  }
};

/** A key that no value of the column can be written as. */
const checkKeys = (name: string, kind: Json, keys: readonly string[]): void => {
  const written = nameOf(kind);
  const [whole, unsigned, bits] = INTEGER.exec(written) ?? [];
  const values = kind instanceof Map ? kind.get("values") : null;
  const fits =
    written === "bool"
      ? TRUTHS.some((pair) => keys.every((key) => pair.has(key)))
      : whole
        ? keys.every((key) => isValue(key, BigInt(bits ?? 0), !unsigned))
        : written !== "category" || keys.every((key) => Array.isArray(values) && values.includes(key));
  if (!fits) refuse("recipe-column", `the group ${name} is ${written}, and has a key that no such value is written as`);
};

const isValue = (text: string, bits: bigint, signed: boolean): boolean => {
  if (!/^-?[0-9]{1,20}$/.test(text) || String(BigInt(text)) !== text) return false;
  const lowest = signed ? -(2n ** (bits - 1n)) : 0n;
  return BigInt(text) >= lowest && BigInt(text) < lowest + 2n ** bits;
};
