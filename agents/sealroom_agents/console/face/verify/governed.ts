// SPDX-License-Identifier: Apache-2.0
// The links `gate-registered` `approved` `approvals`: what the owners agreed. Twin of
// `sealroom_agents.verification.governed`. The opening's `charter` chains all rosters and platforms, so that the platform
// in the proofs is the one that governed, or the chain breaks.
import type { Hex } from "../base/bytes.ts";
import { concat, hex, unhex } from "../base/bytes.ts";
import { keccak } from "../base/hashes.ts";
import type { Machines, Platform, Study } from "./messages.ts";
import { MACHINES, PLATFORM, STUDY } from "./messages.ts";
import { anchorOf, gateChecks, shows, studyChecks } from "./of_run.ts";
import { opened, opening } from "./recorded.ts";
import { refuse } from "../base/refusal.ts";
import type { ShownEvent } from "./shown.ts";
import { comparePlaces } from "./shown.ts";
import type { Findings, Step } from "./state.ts";
import { asked, check, equal } from "./state.ts";

const extended = (platform: Platform, added: Machines): Platform => ({
  ...platform,
  osImages: [...platform.osImages, ...added.osImages],
  devices: [...platform.devices, ...added.devices],
});

/** The platform whose charter the opening names, with the machines that were added to it. */
const platform = (found: Findings): Platform => {
  const { place } = opened(found);
  let [charter, ground]: [Hex, Hex] = ["0x", "0x"];
  let adopted: Platform | null = null;
  for (const event of found.of("shown").events) {
    if (comparePlaces(event.place, place) >= 0) break;
    if (event.name === "PlatformAdopted") {
      charter = ground = event.fields.charter as Hex;
      adopted = PLATFORM.ofAbi(event.fields.platform);
    } else if (adopted !== null && (event.name === "MachinesAdded" || event.name === "RosterChanged")) {
      ground = hex(keccak(concat(unhex(ground), unhex(event.fields.proposal as Hex))));
      if (event.name === "RosterChanged") charter = ground;
      else adopted = extended(adopted, MACHINES.ofAbi(event.fields.machines));
    }
  }
  if (adopted === null || charter !== opening(found).charter) {
    return refuse("gate-not-registered", "the proofs do not show the platform under which the run was opened");
  }
  return adopted;
};

const pin = (found: Findings): ShownEvent => {
  const [{ place }, { study }] = [opened(found), opening(found)];
  const earlier = found.of("shown").of("StudyPinned").filter((event) => comparePlaces(event.place, place) < 0 && event.fields.study === study);
  return earlier[earlier.length - 1] ?? refuse("not-approved", "the proofs do not show that the owners approved the study");
};

const study = (found: Findings): Study => {
  const content = STUDY.ofAbi(pin(found).fields.content);
  return hex(STUDY.structHash(content)) === opening(found).study ? content : refuse("not-approved", "the approved study is not what its id says");
};

const bits = (value: bigint): number => value.toString(2).replaceAll("0", "").length;

const approvers = (found: Findings): bigint => pin(found).fields.approvals as bigint;

export const GATE_REGISTERED: Step = {
  name: "gate-registered",
  checks: [
    check("chain.app", (found) => {
      const app = found.envelope.statement.app;
      if (found.of("shown").of("ConsortiumCreated").some((event) => event.fields.app !== app)) refuse("app-id-mismatch", "the consortium was made with another app");
    }),
    asked("chain.home", async ({ envelope: { statement } }, chain) => {
      const { app, ledger } = await chain.home(statement.consortium);
      if (app !== statement.app || ledger !== statement.ledger) refuse("ledger-mismatch", "the consortium has another app or ledger");
    }),
    shows("platform.charter", platform),
    ...gateChecks(platform),
  ],
  tell: (found) => {
    // Any contract can emit such an event: whether it is the factory, the reader has to know.
    const made = [...new Set(found.of("shown").of("ConsortiumCreated").map((event) => event.emitter))];
    return `gate, OS image and machine adopted by the owners${made.length ? `; made by the factory ${made.join(" or ")}, as that says` : ""}`;
  },
};

export const APPROVED: Step = {
  name: "approved",
  checks: [
    shows("study.pinned", pin),
    shows("study.id", study),
    equal(
      "study.approvals",
      (found) => [pin(found).fields.roll, approvers(found), pin(found).header.time].join(),
      (found) => [opening(found).roll, opening(found).approvals, opening(found).approvedAt].join(),
      "not-approved",
      "the study was approved otherwise than its opening says",
    ),
    ...studyChecks(study),
    asked("study.versions", async (found, chain) => {
      const { grant, statement } = found.envelope;
      const { versions } = study(found);
      for (const [place, used] of statement.datasets.entries()) {
        const { name, index } = await chain.registered(grant.ledger, used.id, versions[place] ?? 0n, used.header);
        if (name !== used.name || index !== used.indexDigest) refuse("dataset-mismatch", `${used.owner}/${used.name} is not what its owner registered`);
      }
    }),
  ],
  tell: (found) => `${bits(approvers(found))} owners approved, as many as were needed, block ${pin(found).header.number}`,
};

export const APPROVALS: Step = {
  name: "approvals",
  checks: [
    check("approvals.count", (found) => {
      const [count, listed] = [bits(approvers(found)), anchorOf(found).approvals.length];
      if (listed !== count) refuse("approval-mismatch", `${listed} approvals are listed, and ${count} counted`);
    }),
    asked("approvals.owners", async (found, chain) => {
      const stranger = anchorOf(found).approvals.find(({ owner }) => !found.of("said").approvedBy.includes(owner));
      if (stranger) refuse("approval-mismatch", `${stranger.owner} is listed, and had not approved as an owner`);
      found.put("owners", await chain.owners(found.envelope.statement.consortium));
    }),
  ],
  tell: (found) => {
    const { approvals } = anchorOf(found);
    if (found.chain !== null) return `those that counted were of ${approvals.map(({ owner }) => found.of("owners").get(owner) ?? owner).join(", ")}`;
    return `${approvals.length} are listed, as many as counted; whose they are, only the chain can tell`;
  },
};
