// SPDX-License-Identifier: Apache-2.0
// Elements made in scripts. All text is set as text.
import { visible } from "./text.ts";

export type Child = string | Node;

/** An element with a class (or none) and children, each an element or text. */
export const make = <Tag extends keyof HTMLElementTagNameMap>(tag: Tag, name: string, ...children: readonly Child[]): HTMLElementTagNameMap[Tag] => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
};

export const code = (text: string, name = ""): HTMLElement => make("code", name, text);

/** A hash or address, whole in the document: the style hides its middle on screens alone. */
export const hash = (value: string): HTMLElement => make("code", "hash", value.slice(0, 8), make("span", "mid", value.slice(8, -4)), value.slice(-4));

/** A name and what holds of it, for a list of facts. */
export const fact = (name: string, ...children: readonly Child[]): HTMLElement => make("div", "", make("dt", "", name), make("dd", "", ...children));

export const joined = (parts: readonly Child[], between: string): Child[] => parts.flatMap((part, index) => (index ? [between, part] : [part]));

const odd = (text: string): HTMLElement => make("span", "odd", visible(text));

/** Source text: everything but printable ASCII by its number. */
export const source = (text: string): Child[] =>
  text
    .split(/([^\x20-\x7e])/u)
    .filter(Boolean)
    .map((part) => (/^[\x20-\x7e]/.test(part) ? part : odd(part)));

/** Prose in any language: only what is invisible or reorders text by its number. */
export const prose = (text: string): Child[] =>
  text
    .split(/([^\P{C}]|(?! )\p{Z})/u)
    .map((part, place) => (place % 2 ? odd(part) : part))
    .filter(Boolean);

/** Lines of source text, numbered. */
export const numbered = (text: string, label: string): HTMLElement => {
  const lines = text.slice(0, -1).split("\n");
  const box = make("div", "source", make("ol", "", ...lines.map((line) => make("li", "", make("code", "", ...source(line))))));
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  return box;
};
