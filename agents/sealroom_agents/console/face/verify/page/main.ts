// SPDX-License-Identifier: Apache-2.0
// The verify page: files in, a worker walks, links are painted one by one. Nothing after the first broken link is painted.
import codes from "./codes.json";
import { printable } from "../../parts/text.ts";
import type { Dropped } from "../limits.ts";
import { MAX_FILES, MAX_FILE_BYTES } from "../limits.ts";
import type { MarkedLink, Report } from "../report.ts";
import { UNDECIDED } from "../undecided.ts";
import { element, find, terms } from "./dom.ts";
import type { Answer, Ask } from "./messages.ts";
import { SAY, TITLES } from "./words.ts";

/** The worker's own script, which the build puts here. */
declare const WORKER: string;
/** Whether the page may ask a node. */
declare const ASKS: boolean;
declare const trustedTypes: { createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string } } | undefined;

const MEBIBYTE = 1024 * 1024;
const SENTENCES = codes as Readonly<Record<string, string>>;

const drop = find("drop", HTMLLabelElement);
const picker = find("files", HTMLInputElement);
const chainId = find("chain", HTMLInputElement);
const consortium = find("consortium", HTMLInputElement);
const node = ASKS ? find("node", HTMLInputElement) : null;
const verdict = find("verdict", HTMLElement);
const sentence = find("sentence", HTMLElement);
const fraction = find("fraction", HTMLElement);
const progress = find("progress", HTMLProgressElement);
const scope = find("scope", HTMLUListElement);
const answers = find("answers", HTMLDListElement);
const dropped = find("dropped", HTMLUListElement);
const chain = find("links", HTMLOListElement);
const certificate = find("certificate", HTMLElement);

let files: Dropped[] = [];
let worker: Worker | null = null;

// --- asking --------------------------------------------------------------------------------------------------------

let source: (() => Worker) | null = null;

/** A worker for one walk: an earlier one that still walks is ended. Its script becomes an address once. */
const fresh = (): Worker => {
  worker?.terminate();
  if (source === null) {
    const address = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
    const policy = typeof trustedTypes === "undefined" ? null : trustedTypes.createPolicy("sealroom-worker", { createScriptURL: () => address });
    source = () => new Worker(policy ? policy.createScriptURL("") : address);
  }
  worker = source();
  return worker;
};

const expected = (): Ask["expected"] | undefined => {
  const named = { chainId: chainId.value.trim(), consortium: consortium.value.trim() };
  if (!named.chainId && !named.consortium) return null;
  return named.chainId && named.consortium ? named : undefined;
};

const verify = (): void => {
  clear();
  if (!files.length) return say(SAY.idle);
  const named = expected();
  if (named === undefined) return say(SAY.half, "wait");
  say(SAY.reading);
  progress.hidden = false;
  progress.removeAttribute("value");
  let started: Worker;
  try {
    started = fresh();
  } catch {
    return refused("internal", SAY.noWorker);
  }
  started.onmessage = ({ data }: MessageEvent<Answer>) => hear(data);
  started.onerror = () => refused("internal", SAY.stopped);
  const ask: Ask = { files, expected: named, now: Math.floor(Date.now() / 1000), node: node?.value.trim() || null };
  started.postMessage(ask);
};

// --- painting ------------------------------------------------------------------------------------------------------

const say = (text: string, tone = ""): void => {
  sentence.textContent = text;
  verdict.dataset.tone = tone;
};

const clear = (): void => {
  for (const held of [fraction, scope, answers, chain]) held.replaceChildren();
  certificate.hidden = true;
  progress.hidden = true;
  document.body.classList.remove("certified");
};

const planned = (names: readonly string[]): void =>
  chain.replaceChildren(
    ...names.map((name) => {
      const item = element("li", "", "waits");
      item.dataset.link = name;
      item.append(element("span", "", "n"), element("strong", TITLES[name] ?? name), element("span", SAY.waits, "say"), element("span", name, "det"));
      return item;
    }),
  );

const paint = (link: MarkedLink): void => {
  const items = [...chain.children] as HTMLElement[];
  const place = items.findIndex((item) => item.dataset.link === link.name);
  const item = items[place];
  if (!item) return;
  item.className = link.mark;
  const said = link.ok ? SAY[link.mark as "recomputed"] : SAY.broken(SENTENCES[link.code ?? ""] ?? printable(link.detail));
  const [, , words, detail] = [...item.children] as HTMLElement[];
  if (words) words.textContent = said;
  detail?.replaceChildren(element("code", link.ok ? link.name : `${link.name} · ${link.code ?? ""}`), ` ${printable(link.detail)}`);
  for (const block of link.blocks) {
    const who = block.vouchers.length ? block.vouchers.join(" and ") : "nobody";
    detail?.append(element("span", `${block.number}: ${block.hash} ${block.shows.join(", ")}; vouched for by ${who}`, "block"));
  }
  progress.max = items.length;
  progress.value = place + 1;
  say(SAY.walking(Math.min(place + 2, items.length), items.length));
};

const finished = (report: Report, milliseconds: number): void => {
  progress.hidden = true;
  const tone = report.outcome === "broken" ? "stop" : report.outcome === "proven" ? "hold" : "wait";
  say(report.sentence, tone);
  fraction.textContent = report.fraction;
  const time = report.asked ? SAY.timeAsked(milliseconds, node?.value.trim() ?? "") : SAY.time(milliseconds);
  const told = [...report.warnings, ...(report.why ? [report.why] : []), time];
  scope.replaceChildren(...told.map((line) => element("li", line)));
  terms(answers, report.lines);
  for (const item of [...chain.children] as HTMLElement[]) {
    if (item.className !== "waits") continue;
    item.className = "never";
    const words = item.children[2];
    if (words) words.textContent = SAY.never;
  }
  if (report.certificate === null) return;
  find("certified", HTMLElement).textContent = report.certificate.sentence;
  find("made", HTMLElement).textContent = SAY.made(new Date().toISOString().slice(0, 16).replace("T", " "));
  terms(find("facts", HTMLDListElement), report.certificate.facts);
  find("walked", HTMLOListElement).replaceChildren(...report.certificate.links.map((line) => element("li", line)));
  certificate.hidden = false;
  document.body.classList.add("certified");
};

const refused = (code: string, detail: string): void => {
  progress.hidden = true;
  const undecided = UNDECIDED.has(code);
  const edited = code === "malformed" || code === "not-canonical";
  say((undecided ? SAY.undecided : SAY.refused)([SENTENCES[code] ?? "", edited ? SAY.changed : ""].join(" ").trim()), undecided ? "wait" : "stop");
  fraction.textContent = `${code}: ${detail}`;
  chain.replaceChildren();
};

const hear = (answer: Answer): void => {
  switch (answer.is) {
    case "planned":
      return planned(answer.links);
    case "link":
      return paint(answer.link);
    case "report":
      return finished(answer.report, answer.milliseconds);
    case "refused":
      return refused(answer.code, answer.detail);
  }
};

// --- files -----------------------------------------------------------------------------------------------------------

const take = async (list: FileList | null): Promise<void> => {
  const held = [...(list ?? [])];
  clear();
  if (held.length > MAX_FILES) return say(SAY.tooMany(MAX_FILES), "stop");
  const large = held.find((file) => file.size > MAX_FILE_BYTES);
  if (large) return say(SAY.tooLarge(large.name, MAX_FILE_BYTES / MEBIBYTE), "stop");
  files = await Promise.all(held.map(async (file) => ({ name: file.name, data: new Uint8Array(await file.arrayBuffer()) })));
  dropped.replaceChildren(...files.map(({ name, data }) => element("li", `${name}, ${data.length.toLocaleString("en")} bytes`)));
  verify();
};

picker.addEventListener("change", () => void take(picker.files));
for (const field of [chainId, consortium, ...(node ? [node] : [])]) field.addEventListener("change", verify);
find("print", HTMLButtonElement).addEventListener("click", () => print());
for (const [name, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]] as const) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", over);
  });
}
document.addEventListener("drop", (event) => void take(event.dataTransfer?.files ?? null));
say(SAY.idle);
