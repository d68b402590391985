// SPDX-License-Identifier: Apache-2.0
// What the page and its worker say to each other.
import type { Dropped } from "../limits.ts";
import type { MarkedLink, Report } from "../report.ts";

export interface Ask {
  files: readonly Dropped[];
  /** Chain id and address, as the auditor wrote them; `null` where none was named. */
  expected: { chainId: string; consortium: string } | null;
  /** Unix seconds. */
  now: number;
  /** Address of a node, where one is asked. */
  node: string | null;
}

export type Answer =
  | { is: "planned"; name: string; links: readonly string[] }
  | { is: "link"; link: MarkedLink }
  | { is: "report"; report: Report; milliseconds: number; links: readonly MarkedLink[] }
  | { is: "refused"; code: string; detail: string };
