// SPDX-License-Identifier: Apache-2.0
// The links that hold an envelope's origin against what the verifier pinned; one for each pinned origin. Twin of
// `sealroom_agents.verification.pinned`.
import type { Evidence } from "./attestation/evidence.ts";
import { isBooted } from "./attestation/trust.ts";
import type { Hex } from "../base/bytes.ts";
import type { Origin, Pin } from "./pin.ts";
import { ORIGINS, origins } from "./pin.ts";
import { refuse } from "../base/refusal.ts";
import type { Check, Findings, Step } from "./state.ts";
import { check, equal } from "./state.ts";

const pinnedImage = (pin: Pin, { mrTd, rtMr }: Evidence): Hex | undefined => pin.osImages.find((image) => isBooted(image, mrTd, rtMr))?.digest;

/** By its registers: the digest alone is the guest's claim (AT-20). */
const booted = (name: string, who: string, evidence: (found: Findings) => Evidence): Check =>
  check(name, (found) => {
    const seen = evidence(found);
    if (pinnedImage(found.pin, seen) === undefined) {
      refuse("os-image-not-pinned", `${who} booted no pinned OS image: it says ${seen.osImageHash}, with MRTD ${seen.mrTd}`);
    }
  });

const STEPS: Readonly<Record<Origin, Step>> = {
  consortium: {
    name: "pinned-consortium",
    checks: [
      equal(
        "pin.chain",
        ({ envelope }) => envelope.statement.chainId,
        ({ pin }) => pin.chainId,
        "consortium-not-pinned",
        ({ envelope }) => `the result is of chain ${envelope.statement.chainId}, not of the pinned one`,
      ),
      equal(
        "pin.consortium",
        ({ envelope }) => envelope.statement.consortium,
        ({ pin }) => pin.consortium,
        "consortium-not-pinned",
        ({ envelope }) => `the result is of consortium ${envelope.statement.consortium}, not of the pinned one`,
      ),
    ],
    tell: ({ pin }) => `${String(pin.consortium)} on chain ${String(pin.chainId)}, as pinned`,
  },
  gate: {
    name: "pinned-gate",
    checks: [
      equal(
        "pin.gate-compose",
        (found) => found.of("gate").composeHash,
        ({ pin }) => pin.gateCompose,
        "gate-not-pinned",
        (found) => `the gate runs compose ${found.of("gate").composeHash}, not the pinned one`,
      ),
      equal("pin.gate-root", (found) => found.of("gate").gateRoot, ({ pin }) => pin.gateRoot, "gate-not-pinned", (found) => `the gate has root ${found.of("gate").gateRoot}, not the pinned one`),
    ],
    tell: () => "the gate is the pinned one",
  },
  "kms-root": {
    name: "pinned-kms-root",
    checks: [
      equal(
        "pin.kms-root",
        (found) => found.of("gate").kmsRoot,
        ({ pin }) => pin.kmsRoot,
        "kms-root-not-pinned",
        (found) => `the keys come from KMS root ${found.of("gate").kmsRoot}, not the pinned one`,
      ),
    ],
    tell: () => "gate and enclave have their keys from the pinned KMS",
  },
  "os-images": {
    name: "pinned-os-images",
    checks: [booted("pin.enclave-image", "the enclave", (found) => found.of("evidence")), booted("pin.gate-image", "the gate", (found) => found.of("gate").evidence)],
    tell: (found) => `gate and enclave booted pinned images, here ${pinnedImage(found.pin, found.of("evidence")) ?? ""}`,
  },
};

/** The links for exactly what `pin` holds. */
export const pinnedSteps = (pin: Pin): Step[] => {
  const known = origins(pin);
  return (Object.keys(ORIGINS) as Origin[]).filter((origin) => known.has(origin)).map((origin) => STEPS[origin]);
};
