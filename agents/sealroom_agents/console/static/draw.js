// SPDX-License-Identifier: Apache-2.0
// Draws what owners read before they approve, from a recipe that this page read from its bytes and from the content that
// is approved. The server draws the same for readers without scripts; the two must not differ. All text is set as text.
"use strict";

const Draw = (() => {
  const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

  const HEADS = ["Field", "Kind", "Declared", "Noise", "Cost"];

  // An element with a class (or none) and children, each an element or text.
  const make = (tag, name, ...children) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...children);
    return made;
  };

  const code = (text, name) => make("code", name, text);

  const count = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");

  const day = (seconds) => {
    const date = new Date(Number(seconds) * 1000);
    return date.getUTCDate() + " " + MONTHS[date.getUTCMonth()] + " " + date.getUTCFullYear();
  };

  const epsilon = (micro) => Calldata.decimal(micro, 6);

  // Parts of 10^12 in the one text of a number: 1e-6 for magnitudes below 0.0001.
  const delta = (pico) => {
    if (BigInt(pico) === 0n || BigInt(pico) >= 10n ** 8n) return Calldata.decimal(pico, 12);
    const digits = String(pico);
    const rest = digits.slice(1).replace(/0+$/, "");
    return digits[0] + (rest && "." + rest) + "e" + (digits.length - 13);
  };

  // Source text: everything but printable ASCII by its number.
  const source = (text) =>
    text.split(/([^\x20-\x7e])/u).filter((part) => part).map((part) => (/^[\x20-\x7e]/.test(part) ? part : make("span", "odd", Calldata.visible(part))));

  // Prose in any language: only what is invisible or reorders text by its number.
  const prose = (text) =>
    text.split(/([^\P{C}]|(?! )\p{Z})/u).filter((part) => part).map((part) => (Canonical.isPrintable(part) ? part : make("span", "odd", Calldata.visible(part))));

  const joined = (parts, between) => parts.flatMap((part, index) => (index ? [between, part] : [part]));

  const fact = (name, ...children) => make("div", "", make("dt", "", name), make("dd", "", ...children));

  const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");

  // How many rows of one person.
  const rows = (most) => (most === 1 ? "one row a person" : "at most " + grouped(most) + " rows a person");

  // What of a person counts: blocks of people, or the rows that a person has.
  const counted = ({ blocks, relation }) => (blocks ? grouped(blocks) + " blocks of people" : rows(relation ? relation.rows : 1));

  // A recipe's guarantee by name, its numbers, and what it promises.
  const guarantee = (recipe) => {
    const { name, mustRead, sentence } = recipe.guarantee;
    return [make("strong", mustRead ? "guarantee must-read" : "guarantee", name), ", " + counted(recipe) + ". " + sentence];
  };

  // The same as a notice, in red where all rests on reading a script.
  const promise = (recipe) => make("p", "notice " + (recipe.guarantee.mustRead ? "danger" : "calm"), ...guarantee(recipe));

  // For how many people a run has memory.
  const people = (most) => "at most " + grouped(most) + " people of all owners, by which the memory of a run is estimated; nobody is left out";

  // What a dataset is: a table of a schema, or files.
  const kindOf = (dataset) => (dataset.schema ? "table " + dataset.schema : "files");

  const reads = (recipe) => recipe.datasets.map((one) => one.owner + "/" + one.name + " (" + kindOf(one) + ")").join("; ");

  const columns = ([name, schema]) => {
    const items = [...schema.columns].map(([column, kind]) => make("li", "", make("code", "", ...prose(column)), " ", ...prose(Recipe.typeText(kind)), column === schema.unit ? ", the person" : ""));
    const all = make("ul", "columns", ...items);
    all.tabIndex = 0;
    all.setAttribute("aria-label", "Columns of " + name);
    return fact("Table " + name, all);
  };

  const budget = (content) =>
    "ε " + epsilon(content.epsilonMicro) + " and δ " + delta(content.deltaPico) + " for at most " + content.maxRuns + (Number(content.maxRuns) === 1 ? " run, until " : " runs, until ") + day(content.expiry);

  const short = (value) => value.slice(0, 8) + "…" + value.slice(-4);

  // Which version of a dataset a study uses; 0 in the content is the newest when a run opens.
  const pinned = (version) => (version === "0" ? "the newest version" : "version " + version);

  const version = (version, number) => (version === "0" ? number + ", the newest" : number + ", pinned");

  // ε and δ of a lifetime account or an allowance: cap, spent, cap, spent.
  const account = ([epsilonCap, epsilonSpent, deltaCap, deltaSpent]) =>
    "ε " + epsilon(epsilonSpent) + " of " + epsilon(epsilonCap) + ", δ " + delta(deltaSpent) + " of " + delta(deltaCap);

  // What an allowance grants in one UTC day.
  const daily = (allowance) => "ε " + epsilon(allowance[4]) + " and " + allowance[6] + " runs";

  // Fields of a study that have words of their own here; any other is shown as the model names it, so that none is hidden.
  const WORDED = ["composeHash", "outputHash", "privacyHash", "datasets", "versions", "epsilonMicro", "deltaPico", "maxRuns", "expiry", "basis", "nonce"];

  const minute = (seconds) => new Date(Number(seconds) * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";

  const further = (content) =>
    Model.structs.Study.filter(([name]) => !WORDED.includes(name)).map(([name, , label, unit]) => {
      const told = { micro: epsilon, pico: delta, seconds: minute }[unit] ?? String;
      return fact(label[0].toUpperCase() + label.slice(1), [content[name]].flat().map(told).join(", "));
    });

  // The facts of "What is agreed to".
  const agreed = (study, content, recipe) => {
    const full = (value) => code(value, "hash full");
    const bytes = make("a", "", "bytes");
    bytes.href = "/v1/recipes/" + content.composeHash;
    return make(
      "dl",
      "facts",
      fact("Guarantee", ...guarantee(recipe)),
      fact("Study", full(study)),
      fact("Compose hash", full(content.composeHash), " ", bytes),
      fact("Output contract", full(content.outputHash)),
      fact("Privacy policy", full(content.privacyHash)),
      fact("Budget", budget(content), "; one run costs ε " + epsilon(recipe.epsilonMicro) + ", δ " + recipe.privacy.delta),
      fact("Protects", "each ", code(recipe.unit), " with all its rows (" + recipe.privacy.adjacency + " adjacency); nothing about fewer than " + recipe.privacy.minimum_cohort),
      fact("Runs in", code(recipe.image, "wrap")),
      fact("Reads", reads(recipe)),
      ...[...recipe.schemas].map(columns),
      ...further(content),
      fact("Datasets", ...joined(content.datasets.map((id, index) => make("span", "", code(short(id), "hash"), " ", pinned(content.versions[index]))), ", ")),
      fact("Follows", full(content.basis), ", what owners had decided before it; studies pinned until then: " + content.nonce),
    );
  };

  // What a field's kind declares, as text.
  const told = (value) => {
    if (Array.isArray(value)) return value.map(told).join(", ") || "none";
    return value instanceof Map ? [...value].map(([name, item]) => name + " " + told(item)).join(" ") : String(value);
  };

  const declared = (field) => [...field.declared].map(([name, item]) => name + ": " + told(item)).join("; ");

  const cost = (field) => {
    const [sign, unit] = field.law === "laplace" ? ["ε ", 1000000n] : ["μ ", 1000000000n];
    const [whole, rest] = [BigInt(field.cost) / unit, BigInt(field.cost) % unit];
    const draws = field.sampled.map(({ draws, rate }) => ", " + count(draws) + " draws over " + Number((100 * rate).toPrecision(3)) + " %");
    return sign + (whole + "." + String(rest).padStart(String(unit).length - 1, "0")).replace(/\.?0+$/, "") + draws.join("");
  };

  const row = (field) => {
    const head = make("th", "", code(field.name));
    head.scope = "row";
    const cells = [
      make("td", "", field.kind),
      make("td", "words", ...prose(declared(field))),
      make("td", "", field.law),
      make("td", "number", cost(field)),
    ];
    // Where a row becomes a card, each cell carries its label.
    cells.forEach((cell, index) => (cell.dataset.label = HEADS[index + 1]));
    return make("tr", "", head, ...cells);
  };

  // A network whose output is a column: all that the recipe says of it, but weights by their number.
  const network = ({ name, declared }) => {
    const weights = declared.get("weights");
    const stands = weights.has("base64") ? atob(weights.get("base64")).length / 4 + " numbers in the recipe" : "sealed by " + weights.get("owner") + " as " + weights.get("name");
    const text = [...declared].map(([member, item]) => member + ": " + (member === "weights" ? stands : told(item))).join("; ");
    return make("p", "quiet", "The column ", code(name), " is the output of a network. ", ...prose(text), ". The noise protects people, and not the weights.");
  };

  // All that may leave: the table, and what bounds it.
  const leaves = (recipe) => {
    const { output, privacy } = recipe;
    const heads = HEADS.map((name) => make("th", name === "Cost" ? "number" : "", name));
    const table = make("table", "", make("thead", "", make("tr", "", ...heads)), make("tbody", "", ...output.fields.map(row)));
    const groups = [...output.groups].map(([name, keys]) => make("span", "", code(name), " = ", ...source(keys.join(", "))));
    const bounds = "At most " + count(output.limit_bytes) + " bytes; nothing about fewer than " + privacy.minimum_cohort + "; result or failure leaves " + count(privacy.release_after_seconds) + " s after the grant.";
    return make("div", "", make("div", "scroll", table), ...recipe.networks.map(network), make("p", "quiet", "Groups: ", ...(groups.length ? joined(groups, "; ") : ["none"]), ". ", bounds));
  };

  const numbered = (text, label) => {
    const list = make("ol", "", ...text.slice(0, -1).split("\n").map((line) => make("li", "", make("code", "", ...source(line)))));
    const box = make("div", "source", list);
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", label);
    return box;
  };

  // What computes, from the recipe's bytes: a script, or a researcher's SQL. What is compiled from SQL, no page can say.
  const computes = (recipe) => {
    const { relation } = recipe;
    const text = relation ? relation.sql : recipe.analysis;
    const odd = [...text].filter((one) => !/[\n\x20-\x7e]/.test(one)).length;
    const warning = () =>
      make("p", "notice warn", make("strong", "", odd + " unusual character" + (odd === 1 ? "" : "s") + "."), " Everything but printable ASCII is shown by its number, like ", make("span", "odd", "\\u{202e}"), ".");
    const plain = () => make("p", "quiet", "Printable ASCII only; nothing is hidden. These " + (text.split("\n").length - 1) + " lines are part of the compose hash.");
    return make(
      "div",
      "",
      make("h2", "", relation ? "The researcher’s SQL" : "The script"),
      promise(recipe),
      odd ? warning() : plain(),
      numbered(text, "Source text"),
      relation ? make("p", "quiet", "Its result has " + rows(relation.rows) + ": SQL that gives more does not compile." + (relation.people ? " It is made for " + people(relation.people) + "." : "")) : "",
    );
  };

  return Object.freeze({ make, code, fact, joined, count, day, epsilon, delta, source, prose, budget, version, account, daily, further, agreed, leaves, computes, promise, rows, people, reads, numbered });
})();
