// SPDX-License-Identifier: Apache-2.0
// dstack's OS images for developers, by the beginnings of RTMR1 and RTMR2. Twin of `sealroom_agents.attestation.dev_images`.
import type { Hex } from "../../base/bytes.ts";
import { refuse } from "../../base/refusal.ts";

const SEEN: readonly (readonly [kernel: string, system: string, name: string])[] = [
  ["0xc0445b704e4c4813", "0xf1d5f8b1fd4a198f", "dstack-nvidia-dev-0.5.5"],
  ["0x6e1afb74", "0x54a76ae2", "dstack-nvidia-dev-0.5.4.1"],
  ["0xc0445b70", "0x056e8b64", "dstack-nvidia-dev-0.5.6"],
  ["0x920eb831", "0xdad4e81e", "dstack-nvidia-dev-0.5.7"],
  ["0xb598fde949142734", "0x976bc2e546f2e12c", "dstack-nvidia-dev-0.5.8"],
];

/** `os-image-dev` for an image into which whoever runs it can log in. */
export const requireProductionImage = ([, first, second]: readonly [Hex, Hex, Hex, Hex]): void => {
  const name = SEEN.find(([kernel, system]) => first.startsWith(kernel) && second.startsWith(system))?.[2];
  if (name !== undefined) refuse("os-image-dev", `the machine booted ${name}, an image for developers: whoever runs it can log in`);
};
