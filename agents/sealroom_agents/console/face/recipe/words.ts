// SPDX-License-Identifier: Apache-2.0
// A recipe in words, as `recipe_words.py` has them.
import type { Recipe } from "./recipe.ts";

/** What the recipe asks of the machine beyond what owners adopted, and whether its host tells it anything. */
export const machine = ({ gpu, hints, script }: Recipe): string =>
  (gpu === null ? "No GPU is demanded." : gpu.count + " " + gpu.kind + (gpu.count === 1 ? " GPU (" : " GPUs (") + gpu.mode + "): their evidence is verified before any key leaves.") +
  (hints ? " Its host tells it which run it is and where the sealed files lie; nothing is decided by that." : "") +
  (script === null
    ? ""
    : " Phala Cloud's own script of " + script.size.toLocaleString("en-US") + " bytes runs as root in the VM before the containers; the recipe's bytes hold it, and its SHA-256 is " + script.digest.slice(2) + ".");
