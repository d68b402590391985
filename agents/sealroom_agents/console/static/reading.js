// SPDX-License-Identifier: Apache-2.0
// The study of this page: what the server says of it, what its recipe's bytes say, and whether the two are the same. What
// the bytes say takes the place of what the server drew.
"use strict";

const Reading = (() => {
  const box = document.querySelector(".actions");
  const element = (id) => document.getElementById(id);
  const bare = (text) => text.replace(/\s+/g, "");

  // The consortium, as address bar and server both name it.
  const place = () => {
    const { consortium } = box.dataset;
    const path = /\/studies\/(0x[0-9a-f]{40})$/.exec(window.location.pathname);
    if (!path || path[1] !== consortium) throw new Error("The address bar names another consortium than this page. Do not sign; tell the operator.");
    return Object.freeze({ consortium });
  };

  // The same with the study that the server names: nothing of it is believed before it is checked.
  const page = () => {
    const { consortium } = place();
    const { chain, study, content, block } = box.dataset;
    const asked = new URLSearchParams(window.location.search).get("study");
    if (asked !== null && asked !== study) throw new Error("The address bar names another study than this page. Do not sign; tell the operator.");
    if (!Calldata.isHash(study) || !/^[0-9]{1,15}$/.test(block) || !/^[0-9]{1,20}$/.test(chain)) throw new Error("The server names no study.");
    return Object.freeze({ consortium, chain, study, block, content: Calldata.content(JSON.parse(content)) });
  };

  // Compare a part of the page, blanks aside, with what it must say.
  const same = (part, shown, truth) => {
    if (bare(shown) !== bare(truth)) throw new Error("The server shows something else than it should in “" + part + "”. Do not sign; tell the operator.");
  };

  // Every element that the server marked as showing one of these facts; at least one each.
  const shows = (facts) => {
    for (const [name, truth] of Object.entries(facts)) {
      const marked = document.querySelectorAll('[data-shown="' + name + '"]');
      if (!marked.length) throw new Error("The server does not show “" + name + "”. Do not sign; tell the operator.");
      for (const one of marked) same(name, one.textContent, truth);
    }
  };

  const fetched = async (content) => {
    const answer = await fetch("/v1/recipes/" + content.composeHash, { credentials: "omit", redirect: "error" });
    if (!answer.ok) throw new Error("The server does not have the recipe’s bytes, so they cannot be checked. They come with the first run that is submitted (POST /v1/runs), and it waits for approvals.");
    const bytes = await answer.arrayBuffer();
    const digest = "0x" + Calldata.hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
    if (digest !== content.composeHash) throw new Error("The recipe’s bytes do not have the compose hash that you approve. Do not sign.");
    const recipe = await Recipe.read(bytes);
    if (recipe.outputHash !== content.outputHash) throw new Error("The study names another output contract than the one in the recipe’s bytes. Do not sign.");
    if (recipe.privacyHash !== content.privacyHash) throw new Error("The study names another privacy policy than the one in the recipe’s bytes. Do not sign.");
    return recipe;
  };

  // Draw the parts that the bytes decide, and remember which of them the server had drawn otherwise.
  const draw = ({ study, content }, recipe) => {
    const lies = [];
    for (const [id, title, drawn] of [
      ["drawn-name", "name", recipe.name],
      ["drawn-question", "question", Draw.make("span", "", ...Draw.prose(recipe.question))],
      ["drawn-agreed", "What is agreed to", Draw.agreed(study, content, recipe)],
      ["drawn-leaves", "All that may leave", Draw.leaves(recipe)],
      ["drawn-analysis", "What computes", Draw.computes(recipe)],
    ]) {
      const part = element(id);
      const before = part?.textContent ?? "";
      part?.replaceChildren(drawn);
      if (bare(before) !== bare(typeof drawn === "string" ? drawn : drawn.textContent)) lies.push(title);
    }
    // Only SQL is compiled: where a script computes, there is nothing of the kind to show.
    const compiled = element("compiled");
    if (compiled && !recipe.relation) {
      compiled.remove();
      lies.push("What runs instead");
    }
    return lies;
  };

  let read = null;

  // The recipe, read once, and the parts that the server had drawn otherwise. A failure is not kept: bytes may come later.
  const recipe = (wanted) => {
    read ??= fetched(wanted.content).then((found) => Object.freeze({ recipe: found, lies: draw(wanted, found) }));
    read.catch(() => (read = null));
    return read;
  };

  const say = (text) => {
    const note = element("drawn-note");
    if (!note) return;
    note.textContent = text;
    note.hidden = false;
  };

  // At once, so that a reader sees what the bytes say and not what the server drew.
  const begin = async () => {
    if (!box?.dataset.study || !element("drawn-leaves")) return;
    try {
      const { lies } = await recipe(page());
      element("drawn-source").textContent = "Drawn in this page from the recipe’s bytes, whose SHA-256 is the compose hash above.";
      if (lies.length) say("The server had drawn something else than the recipe’s bytes say in: " + lies.join(", ") + ". What you see now is from the bytes. Do not sign; tell the operator.");
    } catch (error) {
      say(error.message);
    }
  };

  begin();
  return Object.freeze({ place, page, recipe, same, shows });
})();
