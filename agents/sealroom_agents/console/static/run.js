// SPDX-License-Identifier: Apache-2.0
// Live progress of a run by server-sent events; the page works without it.
"use strict";

(() => {
  const timeline = document.getElementById("timeline");
  if (!timeline || timeline.dataset.ended === "yes" || !/^0x[0-9a-f]{64}$/.test(timeline.dataset.run)) return;
  const states = ["waiting", "queued", "starting", "attesting", "computing", "anchoring", "done", "refused", "revoked", "failed"];
  // The server draws the phases of a training; these events end one.
  const drawn = document.querySelector(".phases") !== null;
  const turns = ["attesting", "granted", "emitting", "anchoring", "verified"];
  let last = Number(timeline.dataset.after);

  const moment = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC";

  // Invisible characters and those that reorder text are shown by their number, as the server does.
  const printable = (text) => text.replace(/[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu, (one) => (one === " " || one === "\n" ? one : "\\u{" + one.codePointAt(0).toString(16) + "}"));

  const add = (event) => {
    if (event.id <= last) return;
    last = event.id;
    const item = document.createElement("li");
    if (/^[a-z-]+$/.test(event.phase)) item.className = event.phase;
    for (const [tag, name, text] of [
      ["time", "", moment(event.time)],
      ["span", "phase", event.phase],
      ["span", "text", printable(event.message)],
    ]) {
      const part = document.createElement(tag);
      if (name) part.className = name;
      part.textContent = text;
      item.append(part);
    }
    timeline.append(item);
    if (drawn && turns.includes(event.phase)) window.location.reload();
    if (states.includes(event.phase)) {
      const state = document.getElementById("state");
      state.textContent = event.phase;
      state.className = "state " + event.phase;
    }
  };

  const source = new EventSource("/v1/runs/" + timeline.dataset.run + "/events");
  source.addEventListener("phase", (message) => add(JSON.parse(message.data)));
  source.addEventListener("end", () => {
    source.close();
    window.location.reload();
  });
})();
