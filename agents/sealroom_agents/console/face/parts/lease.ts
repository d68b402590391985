// SPDX-License-Identifier: Apache-2.0
// What is left of a lease, as a ring that runs down between two renewals.
import { SAY } from "../words/run.ts";

const TICK_MS = 250;

export interface Renewal {
  /** Seconds that are left. */
  readonly left: number;
  /** Seconds for which the gate renewed it. */
  readonly of: number;
}

/** Shows the lease in its box; what is returned takes each renewal. */
export const countDown = (box: HTMLElement): ((renewal: Renewal) => void) => {
  const ring = box.querySelector("[data-ring]");
  const left = box.querySelector("[data-left]");
  const of = box.querySelector("[data-of]");
  const says = box.querySelector("[data-lease-says]");
  let ends = 0;
  let whole = 1;

  const show = (): void => {
    const seconds = Math.max(0, (ends - performance.now()) / 1000);
    ring?.setAttribute("stroke-dasharray", `${Math.min(100, (100 * seconds) / whole)} 100`);
    if (left) left.textContent = String(Math.ceil(seconds));
    const out = seconds === 0;
    box.classList.toggle("out", out);
    const words = out ? SAY.out : SAY.holds;
    // Told once, when it changes: it is read aloud.
    if (says && says.textContent !== words) says.textContent = words;
  };

  let ticking: number | undefined;
  return (renewal) => {
    ends = performance.now() + 1000 * renewal.left;
    whole = renewal.of;
    if (of) of.textContent = String(renewal.of);
    box.hidden = false;
    show();
    ticking ??= window.setInterval(show, TICK_MS);
  };
};
