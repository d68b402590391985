// SPDX-License-Identifier: Apache-2.0
// Codes that say nothing about an envelope: the page could not look, so nothing was decided. Apart from the walk, since the page
// that paints it knows them too.

/** The chain could not be asked; or the envelope carries evidence that the command alone walks. */
export const UNDECIDED: ReadonlySet<string> = new Set(["chain-unreachable", "chain-stale", "chain-disagrees", "gpu-evidence-unwalked"]);
