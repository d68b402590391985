// SPDX-License-Identifier: Apache-2.0
// The two texts that a recipe's hashes rest on: canonical JSON (RFC 8785) and the small part of YAML that recipes are
// written in (enclave/spec/recipe.md). Mappings are Maps, so that names keep their order and none of them is special.
// A text is read only if writing what was read gives the same text again: then it has one meaning for every reader.
"use strict";

const Canonical = (() => {
  const MAX_DEPTH = 16;
  const LINE_LENGTH = 100;
  const PLAIN = /^[A-Za-z][A-Za-z0-9_-]*$/;
  const RESERVED = new Set(["y", "n", "yes", "no", "on", "off", "true", "false", "null"]);
  const INTEGER = /^-?(?:0|[1-9][0-9]*)$/;
  // Categories C and Z but the space: control, format, surrogate, unassigned, separators.
  const UNPRINTABLE = /[^\P{C}]|(?! )[\p{Z}]/u;

  const refuse = (message) => {
    throw new Error(message);
  };

  const isPrintable = (text) => !UNPRINTABLE.test(text);

  const isScalar = (value) => !Array.isArray(value) && !(value instanceof Map);

  // --- JSON -------------------------------------------------------------------------------------

  // `JSON.stringify` writes text and whole numbers as RFC 8785 does; JavaScript sorts text by UTF-16 units, as it must.
  const json = (value) => {
    if (Array.isArray(value)) return "[" + value.map(json).join(",") + "]";
    if (value instanceof Map) {
      const names = [...value.keys()].sort();
      return "{" + names.map((name) => json(name) + ":" + json(value.get(name))).join(",") + "}";
    }
    if (typeof value === "string" && /\p{Cs}/u.test(value)) refuse("text with half of a surrogate pair");
    if (typeof value === "number" && !Number.isSafeInteger(value)) refuse("a number that is no whole number");
    return JSON.stringify(value);
  };

  const mapped = (value, depth) => {
    if (depth > MAX_DEPTH) refuse("nested too deeply");
    if (Array.isArray(value)) return value.map((item) => mapped(item, depth + 1));
    if (value === null || typeof value !== "object") return value;
    return new Map(Object.keys(value).map((name) => [name, mapped(value[name], depth + 1)]));
  };

  // One JSON object from its bytes, which must be the canonical ones.
  const readJson = (bytes) => {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const value = mapped(JSON.parse(text), 0);
    if (!(value instanceof Map) || json(value) !== text) refuse("not a canonical JSON object");
    return value;
  };

  // --- writing YAML -----------------------------------------------------------------------------

  const scalar = (value) => {
    if (typeof value === "boolean" || Number.isSafeInteger(value)) return String(value);
    if (typeof value !== "string") refuse("a value that recipes do not have");
    if (PLAIN.test(value) && !RESERVED.has(value.toLowerCase())) return value;
    if (!isPrintable(value)) refuse("text with characters that cannot be shown");
    return JSON.stringify(value);
  };

  const flow = (values) => (values.every(isScalar) ? "[" + values.map(scalar).join(", ") + "]" : null);

  const leaf = (value) => {
    if (value instanceof Map && value.size === 0) return "{}";
    if (Array.isArray(value)) return flow(value) ?? refuse("a list within a list");
    return scalar(value);
  };

  // Whether text survives as a literal block, and looks to a reader like what it is.
  const isBlockText = (text) => {
    const lines = text.split("\n");
    const inner = lines.slice(0, -1);
    return (
      lines.length > 1 && lines.at(-1) === "" && inner.at(-1) !== "" && inner[0] !== "" && !inner[0].startsWith(" ") && inner.every((line) => isPrintable(line) && !line.endsWith(" "))
    );
  };

  const entry = (head, item, indent) => {
    if (item instanceof Map && item.size) return [head, ...mapping(item, indent)];
    if (Array.isArray(item) && item.length) {
      const line = flow(item);
      // Lengths count characters, not UTF-16 units.
      if (line !== null && [...head].length + [...line].length < LINE_LENGTH) return [head + " " + line];
      return [head, ...sequence(item, indent)];
    }
    if (typeof item === "string" && item.includes("\n")) {
      if (!isBlockText(item)) refuse("text with line breaks that cannot be shown as it is");
      return [head + " |", ...item.split("\n").slice(0, -1).map((line) => line && indent + line)];
    }
    return [head + " " + leaf(item)];
  };

  const mapping = (value, indent) => [...value].flatMap(([name, item]) => entry(indent + scalar(name) + ":", item, indent + "  "));

  const sequence = (values, indent) =>
    values.flatMap((item) => {
      if (!(item instanceof Map && item.size)) return [indent + "- " + leaf(item)];
      const [first, ...rest] = mapping(item, indent + "  ");
      return [indent + "- " + first.slice(indent.length + 2), ...rest];
    });

  const yaml = (value) => mapping(value, "").map((line) => line + "\n").join("");

  // --- reading YAML -----------------------------------------------------------------------------

  const readScalar = (text) => {
    if (text === "{}") return new Map();
    if (text.startsWith('"')) return JSON.parse(text);
    if (text === "true" || text === "false") return text === "true";
    if (INTEGER.test(text)) return Number(text);
    return text;
  };

  // A name, or an item of a flow sequence: a JSON string, or what stands before the next delimiter.
  const TOKEN = /^(?:"(?:[^"\\]|\\.)*"|[^\s"[\]{},:]+)/u;

  const readFlow = (text) => {
    if (text === "[]") return [];
    const items = [];
    let rest = text.slice(1);
    for (;;) {
      const token = TOKEN.exec(rest)?.[0] ?? refuse("a list that is not in the one accepted form");
      items.push(readScalar(token));
      rest = rest.slice(token.length);
      if (rest === "]") return items;
      if (!rest.startsWith(", ")) refuse("a list that is not in the one accepted form");
      rest = rest.slice(2);
    }
  };

  const depthOf = (line) => line.length - line.trimStart().length;

  class Reader {
    constructor(text) {
      this.lines = text.split("\n");
      if (this.lines.pop() !== "") refuse("text without a line break at its end");
      this.at = 0;
    }

    within(indent) {
      return this.at < this.lines.length && depthOf(this.lines[this.at]) === indent;
    }

    mapping(indent) {
      if (indent > 2 * MAX_DEPTH) refuse("nested too deeply");
      const found = new Map();
      while (this.within(indent) && !this.lines[this.at].startsWith("- ", indent)) {
        const line = this.lines[this.at].slice(indent);
        const token = TOKEN.exec(line)?.[0];
        if (!token || line[token.length] !== ":") refuse("a line that is not in the one accepted form");
        const name = readScalar(token);
        if (typeof name !== "string" || found.has(name)) refuse("a name that is no text, or stands twice");
        this.at += 1;
        found.set(name, this.value(line.slice(token.length + 1), indent + 2));
      }
      return found;
    }

    value(rest, indent) {
      if (rest === "") return this.within(indent) && this.lines[this.at].startsWith("- ", indent) ? this.sequence(indent) : this.mapping(indent);
      if (rest === " |") return this.block(indent);
      return rest.startsWith(" [") ? readFlow(rest.slice(1)) : readScalar(rest.slice(1));
    }

    sequence(indent) {
      const items = [];
      while (this.within(indent) && this.lines[this.at].startsWith("- ", indent)) {
        const line = this.lines[this.at];
        const rest = line.slice(indent + 2);
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

    block(indent) {
      const lines = [];
      while (this.at < this.lines.length && (this.lines[this.at] === "" || depthOf(this.lines[this.at]) >= indent)) {
        lines.push(this.lines[this.at].slice(indent));
        this.at += 1;
      }
      return lines.map((line) => line + "\n").join("");
    }
  }

  const readYaml = (text) => {
    const value = new Reader(text).mapping(0);
    if (yaml(value) !== text) refuse("not in the one accepted form");
    return value;
  };

  return Object.freeze({ json, readJson, yaml, readYaml, isBlockText, isPrintable });
})();
