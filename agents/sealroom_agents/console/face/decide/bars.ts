// SPDX-License-Identifier: Apache-2.0
// A bar of parts, as SVG: no style is written into the document.
import { epsilonText } from "../model/units.ts";

const SVG = "http://www.w3.org/2000/svg";

/** A part by its class, and its width in percent. */
export type Part = readonly [name: string, percent: number];

const set = (made: Element, values: Readonly<Record<string, string | number>>): Element => {
  for (const [name, value] of Object.entries(values)) made.setAttribute(name, String(value));
  return made;
};

const part = (name: string, x: number, width: number): Element => set(document.createElementNS(SVG, "rect"), { class: name, x: x.toFixed(2), width: width.toFixed(2), height: 6 });

const drawnOf = (parts: readonly Part[], told: Readonly<Record<string, string>>): HTMLElement => {
  const drawn = set(document.createElementNS(SVG, "svg"), { viewBox: "0 0 100 6", preserveAspectRatio: "none", ...told });
  drawn.append(part("rail", 0, 100));
  let from = 0;
  for (const [name, width] of parts) {
    drawn.append(part(name, from, Math.min(width, 100 - from)));
    from = Math.min(100, from + width);
  }
  const box = document.createElement("div");
  box.className = "meter";
  box.append(drawn);
  return box;
};

/** Parts beside one another, on a rail of the whole width; hidden from readers of text, who have the numbers. */
export const bar = (...parts: readonly Part[]): HTMLElement => drawnOf(parts, { "aria-hidden": "true" });

/** How much ε of an account is spent, in words; micro-epsilon. */
export const spentText = (used: number, total: number): string => epsilonText(used) + " of " + epsilonText(total) + " spent";

/** The same as a bar that says so. */
export const meter = (used: number, total: number): HTMLElement => drawnOf([["fill", total ? Math.min((100 * used) / total, 100) : 0]], { role: "img", "aria-label": spentText(used, total) });
