// SPDX-License-Identifier: Apache-2.0
// The worker of the verify page: files in, links out one by one. What it cannot read it refuses by its code; nothing that a
// file holds can stop the page.
import { parseEnvelope } from "../envelope.ts";
import { sha256 } from "../../base/hashes.ts";
import { sorted } from "../inputs.ts";
import { isModelFile, modelLinks, readModel } from "../model_file.ts";
import { Refusal, refuse } from "../../base/refusal.ts";
import { marked, reportOn } from "../report.ts";
import type { Chain } from "../state.ts";
import type { Link } from "../walk.ts";
import { steps, walk } from "../walk.ts";
import type { Answer, Ask } from "./messages.ts";

/** Opens the chain at an address; the page from disk has none. */
export type Opens = (address: string) => Chain;

const MODEL_LINKS = ["weights", "checkpoints"];

const expectedOf = (ask: Ask): { chainId: bigint; consortium: string } | null => {
  if (ask.expected === null) return null;
  const { chainId, consortium } = ask.expected;
  if (!/^[1-9][0-9]{0,15}$/.test(chainId)) refuse("malformed", "the chain that you expect is not a number of a chain, such as 8453");
  if (!/^0x[0-9a-fA-F]{40}$/.test(consortium)) refuse("malformed", "the consortium that you expect is not an address: 0x and 40 hex digits");
  return { chainId: BigInt(chainId), consortium: consortium.toLowerCase() };
};

const answer = async (ask: Ask, tell: (answer: Answer) => void, opens: Opens | null): Promise<void> => {
  const began = performance.now();
  const inputs = sorted(ask.files, expectedOf(ask));
  const { file, trust, pin } = inputs;
  const held = isModelFile(file.data) ? readModel(file.data) : null;
  const envelope = held ? held.envelope : parseEnvelope(file.data);
  const chain = ask.node !== null && opens !== null ? opens(ask.node) : null;
  const names = steps(envelope, pin, chain !== null).map((step) => step.name);
  tell({ is: "planned", name: file.name, links: held ? [...MODEL_LINKS, ...names] : names });
  const links: Link[] = [];
  const found = (link: Link): void => {
    links.push(link);
    const last = marked(links, inputs)[links.length - 1];
    if (last) tell({ is: "link", link: last });
  };
  if (held) modelLinks(held).forEach(found);
  if (links.every((link) => link.ok)) {
    for await (const link of walk(envelope, { trust, pin, now: BigInt(ask.now), ...(chain ? { chain } : {}) })) found(link);
  }
  const report = reportOn(links, envelope, inputs, sha256(file.data), chain !== null);
  tell({ is: "report", report, milliseconds: Math.round(performance.now() - began), links: marked(links, inputs) });
};

/** Answers what the page asks. */
export const serve = (opens: Opens | null): void => {
  const tell = (answer: Answer): void => self.postMessage(answer);
  self.addEventListener("message", ({ data }: MessageEvent<Ask>) => {
    answer(data, tell, opens).catch((error: unknown) => {
      if (error instanceof Refusal) tell({ is: "refused", code: error.code, detail: error.message });
      else tell({ is: "refused", code: "internal", detail: error instanceof Error ? error.message : String(error) });
    });
  });
};

