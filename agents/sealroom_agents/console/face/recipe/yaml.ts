// SPDX-License-Identifier: Apache-2.0
// The small part of YAML that recipes are written in: one text a value. Twin of `sealroom.recipe.yamltext`. A text is
// read only if writing what was read gives it again: then it has one meaning for every reader.
import { characters } from "../base/bytes.ts";
import type { Json, JsonObject } from "../base/encoding.ts";
import { MAX_DEPTH } from "../base/encoding.ts";
import { visible } from "../base/names.ts";
import { refuse } from "../base/refusal.ts";

const LINE_LENGTH = 100;
const PLAIN = /^[A-Za-z][A-Za-z0-9_-]*$/;
const RESERVED = new Set(["y", "n", "yes", "no", "on", "off", "true", "false", "null"]);
const INTEGER = /^-?(?:0|[1-9][0-9]*)$/;
/** A name, or an item of a flow sequence: a JSON string, or what stands before the next delimiter. */
const TOKEN = /^(?:"(?:[^"\\]|\\.)*"|[^\s"[\]{},:]+)/u;

const strange = (message: string): never => refuse("recipe-not-canonical", message);
const isScalar = (value: Json): boolean => !Array.isArray(value) && !(value instanceof Map);

// --- writing ---------------------------------------------------------------------------------------------------------

const scalar = (value: Json): string => {
  if (typeof value === "boolean" || typeof value === "number") return String(value);
  if (typeof value !== "string") return refuse("recipe-malformed", "a value that recipes do not have");
  if (PLAIN.test(value) && !RESERVED.has(value.toLowerCase())) return value;
  return visible(value) ? JSON.stringify(value) : refuse("recipe-malformed", "text with characters that cannot be shown as they are");
};

const flow = (values: readonly Json[]): string | null => (values.every(isScalar) ? `[${values.map(scalar).join(", ")}]` : null);

const leaf = (value: Json): string => {
  if (value instanceof Map && value.size === 0) return "{}";
  if (Array.isArray(value)) return flow(value) ?? refuse("recipe-malformed", "a list within a list");
  return scalar(value);
};

/** Whether text survives as a literal block, and looks to a reader like what it is. */
export const isBlockText = (text: string): boolean => {
  const lines = text.split("\n");
  const [first = "", last = "", end = "x"] = [lines[0], lines[lines.length - 2], lines[lines.length - 1]];
  return lines.length > 1 && end === "" && last !== "" && first !== "" && !first.startsWith(" ") && lines.every((line) => visible(line) && !line.endsWith(" "));
};

const entry = (head: string, item: Json, indent: string): string[] => {
  if (item instanceof Map && item.size) return [head, ...mapping(item, indent)];
  if (Array.isArray(item) && item.length) {
    const line = flow(item);
    if (line !== null && characters(head) + characters(line) < LINE_LENGTH) return [`${head} ${line}`];
    return [head, ...sequence(item, indent)];
  }
  if (typeof item === "string" && item.includes("\n")) {
    if (!isBlockText(item)) refuse("recipe-malformed", "text with line breaks that cannot be shown as it is");
    return [`${head} |`, ...item.split("\n").slice(0, -1).map((line) => line && indent + line)];
  }
  return [`${head} ${leaf(item)}`];
};

const mapping = (value: JsonObject, indent: string): string[] => [...value].flatMap(([name, item]) => entry(`${indent}${scalar(name)}:`, item, indent + "  "));

const sequence = (values: readonly Json[], indent: string): string[] =>
  values.flatMap((item) => {
    if (!(item instanceof Map && item.size)) return [`${indent}- ${leaf(item)}`];
    const [first = "", ...rest] = mapping(item, indent + "  ");
    return [`${indent}- ${first.slice(indent.length + 2)}`, ...rest];
  });

export const writeYaml = (value: JsonObject): string =>
  mapping(value, "")
    .map((line) => line + "\n")
    .join("");

// --- reading ---------------------------------------------------------------------------------------------------------

const readScalar = (text: string): Json => {
  if (text === "{}") return new Map();
  if (text.startsWith('"')) {
    try {
      return String(JSON.parse(text));
    } catch {
      return strange("text in quotes that is none");
    }
  }
  if (text === "true" || text === "false") return text === "true";
  if (!INTEGER.test(text)) return text;
  return Number.isSafeInteger(Number(text)) ? Number(text) : refuse("recipe-malformed", "an integer is beyond 2^53 - 1");
};

const readFlow = (text: string): Json[] => {
  if (text === "[]") return [];
  const items: Json[] = [];
  let rest = text.slice(1);
  for (;;) {
    const token = TOKEN.exec(rest)?.[0] ?? strange("a list that is not in the one accepted form");
    items.push(readScalar(token));
    rest = rest.slice(token.length);
    if (rest === "]") return items;
    if (!rest.startsWith(", ")) strange("a list that is not in the one accepted form");
    rest = rest.slice(2);
  }
};

const depthOf = (line: string): number => line.length - line.trimStart().length;

class Reader {
  private readonly lines: string[];
  private at = 0;

  constructor(text: string) {
    this.lines = text.split("\n");
    if (this.lines.pop() !== "") strange("text without a line break at its end");
  }

  private get line(): string {
    return this.lines[this.at] ?? "";
  }

  private within(indent: number): boolean {
    return this.at < this.lines.length && depthOf(this.line) === indent;
  }

  mapping(indent: number): JsonObject {
    if (indent > 2 * MAX_DEPTH) refuse("recipe-malformed", "YAML is nested too deeply");
    const found: JsonObject = new Map();
    while (this.within(indent) && !this.line.startsWith("- ", indent)) {
      const line = this.line.slice(indent);
      const token = TOKEN.exec(line)?.[0] ?? "";
      if (!token || line[token.length] !== ":") strange("a line that is not in the one accepted form");
      const name = readScalar(token);
      if (typeof name !== "string" || found.has(name)) return refuse("recipe-malformed", "a name that is no text, or stands twice");
      this.at += 1;
      found.set(name, this.value(line.slice(token.length + 1), indent + 2));
    }
    return found;
  }

  private value(rest: string, indent: number): Json {
    if (rest === "") return this.within(indent) && this.line.startsWith("- ", indent) ? this.sequence(indent) : this.mapping(indent);
    if (rest === " |") return this.block(indent);
    return rest.startsWith(" [") ? readFlow(rest.slice(1)) : readScalar(rest.slice(1));
  }

  private sequence(indent: number): Json[] {
    const items: Json[] = [];
    while (this.within(indent) && this.line.startsWith("- ", indent)) {
      const rest = this.line.slice(indent + 2);
      const token = TOKEN.exec(rest)?.[0] ?? "";
      if (rest[token.length] === ":") {
        // A mapping begins on the line of its dash: as if the dash were two more spaces.
        this.lines[this.at] = " ".repeat(indent + 2) + rest;
        items.push(this.mapping(indent + 2));
      } else {
        this.at += 1;
        items.push(rest.startsWith("[") ? readFlow(rest) : readScalar(rest));
      }
    }
    return items;
  }

  private block(indent: number): string {
    const lines: string[] = [];
    while (this.at < this.lines.length && (this.line === "" || depthOf(this.line) >= indent)) {
      lines.push(this.line.slice(indent) + "\n");
      this.at += 1;
    }
    return lines.join("");
  }
}

/** Reads text that `writeYaml` writes. */
export const readYaml = (text: string): JsonObject => {
  const value = new Reader(text).mapping(0);
  return writeYaml(value) === text ? value : strange("docker_compose_file is not in the one accepted form");
};
