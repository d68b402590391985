// SPDX-License-Identifier: Apache-2.0
// Live progress of a run by server-sent events; the page works without it. The browser resumes a broken stream by itself,
// behind the last event that it has. An answer that is no stream (too many followers, a proxy's 502) ends that for good, so
// this page asks again, less and less often.
import { make } from "../parts/dom.ts";
import { countDown } from "../parts/lease.ts";
import { printable } from "../parts/text.ts";
import { SAY } from "../words/run.ts";

const STATES = ["waiting", "queued", "starting", "attesting", "computing", "anchoring", "done", "refused", "revoked", "cancelled", "failed"];
/** The server draws the phases of a training; these events end one. */
const TURNS = ["attesting", "granted", "emitting", "anchoring", "verified"];
/** Which of the five steps goes on after an event. */
const STEP: Readonly<Record<string, number>> = { queued: 3, starting: 3, attesting: 3, granted: 4, computing: 4, final: 4, emitting: 5, anchoring: 5, verified: 5 };

const AGAIN_MS = 2_000;
const SELDOM_MS = 60_000;

interface RunEvent {
  id: number;
  /** Unix seconds. */
  time: number;
  phase: string;
  message: string;
}

const moment = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC";

const showStep = (now: number): void => {
  document.querySelectorAll("[data-steps] > li").forEach((step, index) => {
    step.classList.toggle("past", index + 1 < now);
    step.classList.toggle("now", index + 1 === now);
    if (index + 1 === now) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  });
};

const follow = (timeline: HTMLElement, run: string): void => {
  const drawn = document.querySelector(".phases") !== null;
  const connection = document.getElementById("connection");
  let last = Number(timeline.dataset.after);

  const add = (event: RunEvent): void => {
    if (event.id <= last) return;
    last = event.id;
    const item = make("li", /^[a-z-]+$/.test(event.phase) ? event.phase : "", make("time", "", moment(event.time)), make("span", "phase", event.phase), make("span", "text", printable(event.message)));
    timeline.append(item);
    if (drawn && TURNS.includes(event.phase)) window.location.reload();
    const step = STEP[event.phase];
    if (step !== undefined) showStep(step);
    const state = document.getElementById("state");
    if (state && STATES.includes(event.phase)) {
      state.textContent = event.phase;
      state.className = "state " + event.phase;
    }
  };

  const tell = (words: string): void => {
    if (!connection) return;
    connection.textContent = words;
    connection.hidden = words === "";
  };

  const box = document.querySelector<HTMLElement>("[data-lease]");
  const renewed = box ? countDown(box) : undefined;
  const connect = (again: number): void => {
    const source = new EventSource("/v1/runs/" + run + "/events");
    let next = again;
    source.addEventListener("open", () => {
      tell("");
      next = AGAIN_MS;
    });
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return tell(SAY.lost);
      tell(SAY.full);
      window.setTimeout(connect, next, Math.min(2 * next, SELDOM_MS));
    });
    source.addEventListener("phase", (message: MessageEvent<string>) => add(JSON.parse(message.data)));
    source.addEventListener("lease", (message: MessageEvent<string>) => renewed?.(JSON.parse(message.data)));
    source.addEventListener("end", () => {
      source.close();
      window.location.reload();
    });
  };
  connect(AGAIN_MS);
};

const timeline = document.getElementById("timeline");
const run = timeline?.dataset.run ?? "";
if (timeline && timeline.dataset.ended !== "yes" && /^0x[0-9a-f]{64}$/.test(run)) follow(timeline, run);
