// SPDX-License-Identifier: Apache-2.0
// A gate that owners adopt with its policy: its files fill in the form, and a call that would adopt it is held against them.
import { code, fact, make } from "../parts/dom.ts";
import type { Found } from "../pages/gate.ts";
import type { Carried } from "../platform/candidate.ts";
import { printable } from "../parts/text.ts";
import { isHash } from "../model/calls.ts";
import { minuteText } from "../model/units.ts";
import { SAY } from "../words/change.ts";
import type { Act } from "./act.ts";
import { demand, stop } from "./demands.ts";
import { filling, type Place, type Read } from "./dropped.ts";

const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_FILES = 4;

/** An act that adopts a gate, which its files can be held against. */
export interface Adopts extends Act {
  /** Throws where the call adopts another gate or policy than this one. */
  adopts(gate: Carried): void;
}

type Fields = Readonly<Record<string, unknown>>;

const HASHES = [
  ["gateRoot", "the gate’s root key"],
  ["gateSigner", "the gate’s signer"],
  ["gateCompose", "the gate’s own recipe"],
  ["policyHash", "the platform policy"],
] as const;

export const hashes = (text: string): readonly string[] => [...new Set(text.toLowerCase().split(/[\s,]+/).filter(Boolean))];

export const listOf = (value: unknown): readonly string[] => (Array.isArray(value) ? value.map((one) => String(one).toLowerCase()) : []);

/** Throws where the call's platform is not that of the gate and policy. */
export const mustAdopt = (fields: Fields, gate: Carried): void => {
  for (const [name, what] of HASHES) demand(String(fields[name]).toLowerCase() === gate[name], what);
  for (const image of listOf(fields.osImages)) if (!gate.osImages.includes(image)) stop("The call allows the OS image " + image + ", which the platform policy does not know: nothing could boot it.");
};

/** Throws where the call's platform is not what the form says. */
export const mustBeTyped = (fields: Fields, given: (field: string) => string): void => {
  const typed = { gateRoot: "root", gateSigner: "signer", gateCompose: "compose", policyHash: "policy" } as const;
  for (const [name, what] of HASHES) demand(String(fields[name]).toLowerCase() === given(typed[name]).toLowerCase(), what);
  for (const [name, field, what] of [["osImages", "images", "an OS image"], ["devices", "devices", "a machine"]] as const) {
    demand([...listOf(fields[name])].sort().join() === [...hashes(given(field))].sort().join(), what);
  }
};

// --- files ----------------------------------------------------------------------------------------------

const told = (text: string): readonly (Node | string)[] => text.split("\n").flatMap((one, place) => [...(place ? [make("br", "")] : []), one.startsWith("0x") ? code(one) : printable(one)]);

const lines = ({ lines: all }: Found): HTMLElement => {
  const rows = all.map(({ what, now, then }) => {
    if (now === null || now === then) return fact(what, ...told(then));
    const row = fact(what, make("p", "", SAY.gate.then, ...told(then)), make("p", "quiet", SAY.gate.now, ...told(now || SAY.gate.nothing)));
    row.className = "differs";
    return row;
  });
  return make("dl", "facts", ...rows);
};

const difference = ({ lines: all }: Found): string => {
  if (all.some(({ now }) => now === null)) return SAY.gate.noneBefore;
  const changed = all.filter(({ what, now, then }) => now !== then && what !== "hash").map(({ what }) => what);
  return changed.length ? SAY.gate.differs(changed) : SAY.gate.same;
};

const said = (found: Found): readonly Node[] => {
  const { carried, simulated, tcb, device, issued, imageKnown, byMeasurement, gpuRules } = found;
  const open = [
    ...(simulated ? [SAY.gate.simulated] : []),
    ...(byMeasurement ? [SAY.gate.byMeasurement] : []),
    ...(gpuRules ? [SAY.gate.gpuRules] : []),
    SAY.gate.runsNow(minuteText(issued)),
    SAY.gate.whose(carried.gateCompose),
    SAY.gate.digests,
    SAY.gate.machines(device),
  ];
  return [
    imageKnown ? make("p", "notice", SAY.gate.verified(simulated, tcb)) : make("p", "notice danger", SAY.gate.verifiedButImage(simulated, tcb)),
    make("h3", "", SAY.gate.policy),
    make("p", "", difference(found)),
    lines(found),
    make("h3", "", SAY.gate.unchecked),
    make("ul", "problems", ...open.map((one) => make("li", "", one))),
  ];
};

const reader = async (address: string): Promise<typeof import("../pages/gate.ts")> => (await import(address)) as typeof import("../pages/gate.ts");

// Chain and adopted policy are the server’s word in the form; beside a call, what stands there is compared with the wallet’s node.
const read = async (box: HTMLElement, files: readonly File[]): Promise<Read<Carried>> => {
  const { chain = "", adopted } = box.closest<HTMLElement>("[data-chain]")?.dataset ?? {};
  if (files.length > MAX_FILES) stop(SAY.gate.tooMany);
  const large = files.find((file) => file.size > MAX_FILE_BYTES);
  if (large) stop(SAY.gate.tooLarge(printable(large.name)));
  const dropped = await Promise.all(files.map(async (file) => ({ name: printable(file.name), data: new Uint8Array(await file.arrayBuffer()) })));
  const { judged } = await reader(box.dataset.reader ?? "");
  const now = adopted ?? document.querySelector("[data-now='platform policy']")?.textContent?.trim() ?? "";
  const found = judged(dropped, { chainId: BigInt(chain), adopted: isHash(now) ? now : null, now: BigInt(Math.floor(Date.now() / 1000)) });
  return { found: found.carried, says: said(found), open: !found.imageKnown };
};

/** Where a gate's files are dropped. */
export const place = (within: ParentNode): Place<Carried> | null => {
  const box = within.querySelector<HTMLElement>("[data-gate]");
  const picker = box?.querySelector<HTMLInputElement>("[data-gate-files]");
  const said = box?.querySelector<HTMLElement>("[data-gate-said]");
  return box && picker && said ? { picker, said, read: (files) => read(box, files) } : null;
};

/** The form fills in what the files say, where the gate's OS image was checked too. */
export const fill = (form: HTMLFormElement): void => {
  const from = place(form);
  const field = (name: string): HTMLInputElement | HTMLTextAreaElement | null => form.querySelector("[name=" + name + "]");
  if (!from) return;
  filling(from, ({ gateRoot, gateSigner, gateCompose, policyHash, osImages }) => {
    const values = { root: gateRoot, signer: gateSigner, compose: gateCompose, policy: policyHash, images: osImages.join("\n") };
    for (const [name, value] of Object.entries(values)) {
      const one = field(name);
      if (one) one.value = value;
    }
  });
};
