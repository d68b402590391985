// SPDX-License-Identifier: Apache-2.0
// What must hold before a wallet is asked. Each check says what it proved and by whose word: computed in this page, or asked
// of the wallet's node. A check that fails throws, and nothing is asked of the wallet.
"use strict";

const Checks = (() => {
  const stop = (message) => {
    throw new Error(message);
  };

  const rows = (name) => Array.from(document.querySelectorAll("tr[data-" + name + "]"));

  const cell = (row, name) => row.querySelector("[data-cell=" + name + "]")?.textContent ?? "";

  // A hash or address as the server shows it: its middle left out, the whole in the title.
  const hash = (row, name) => (row.querySelector("[data-cell=" + name + "] code")?.title ?? "") + cell(row, name);

  const shortened = (value) => value + value.slice(0, 8) + "…" + value.slice(-4);

  // --- for every act ------------------------------------------------------------------------------

  const chain = async (wanted) => {
    const found = await WalletNode.chain();
    if (found !== wanted.chain) stop("Your wallet is on chain " + found + "; this consortium lives on chain " + wanted.chain + ". Switch, and try again.");
    return "Asked of your wallet: it is on chain " + found + ", the one that this page names.";
  };

  const study = async (wanted) => {
    if (Calldata.studyId(wanted.content) !== wanted.study) stop("The server names a study id that the content shown here does not have. Do not sign; tell the operator.");
    return "Computed in this page: the content shown here has this study id.";
  };

  // --- for an approval ----------------------------------------------------------------------------

  const bytes = async (wanted) => {
    const { recipe, lies } = await Reading.recipe(wanted);
    if (lies.length) stop("The server had drawn something else than the recipe’s bytes say in: " + lies.join(", ") + ". Do not sign; tell the operator.");
    Reading.shows({ budget: Draw.budget(wanted.content), consortium: wanted.consortium, chain: wanted.chain });
    return (
      "Computed in this page from the recipe’s " + Draw.count(recipe.bytes) + " bytes: their SHA-256 is the compose hash; what they let leave and how it is protected have the output and privacy hashes that you approve. The guarantee, the tables, and the script or SQL are drawn from these bytes."
    );
  };

  const standing = async (wanted) => {
    const { consortium, content } = wanted;
    const { basis, pins } = await WalletNode.standing(consortium);
    if (content.basis !== basis || content.nonce !== pins) stop("Your wallet’s node says that owners, machines, a revocation or another study changed what an approval follows: one of this study counts no more. Reload the page.");
    if (BigInt(content.expiry) * 1000n <= BigInt(Date.now())) stop("This study has expired.");
    const owners = await WalletNode.owners(consortium);
    const proposers = await WalletNode.proposers(consortium, wanted.study, wanted.block);
    if (!proposers.length) stop("Your wallet’s node knows no proposal of this study in block " + wanted.block + ". Do not sign; tell the operator.");
    const name = Calldata.visible(owners.find((one) => one.account === proposers[0])?.id ?? proposers[0]);
    Reading.shows({ basis, proposer: name });
    return "Asked of your wallet’s node: " + name + " was the first to approve this very study, in block " + wanted.block + "; it follows the present basis.";
  };

  const votes = async (wanted) => {
    const { consortium } = wanted;
    const owners = await WalletNode.owners(consortium);
    const { approved } = await WalletNode.votes(consortium, wanted.study);
    const { threshold } = await WalletNode.standing(consortium);
    const vote = (row) => [row.dataset.owner, cell(row, "name"), hash(row, "account"), cell(row, "vote").trim().startsWith("approved")].join(" ");
    const truth = owners.map((one) => [one.account, Calldata.visible(one.id), shortened(one.account), approved.includes(one.account)].join(" "));
    Reading.same("Owners and approvals", rows("owner").map(vote).join("\n"), truth.join("\n"));
    const words = approved.length + " of " + owners.length + " approved · needs " + threshold;
    Reading.shows({ quorum: words });
    return "Asked of your wallet’s node: these are the owners and who approved: " + words + ".";
  };

  const datasets = async (wanted) => {
    const { consortium, content } = wanted;
    const { recipe } = await Reading.recipe(wanted);
    const owners = new Map((await WalletNode.owners(consortium)).map((one) => [one.account, one.id]));
    const found = [];
    for (const [index, id] of content.datasets.entries()) found.push(await WalletNode.dataset(consortium, id, content.versions[index]));
    const path = (owner, name) => owner + "/" + name;
    const registered = new Map(found.map((one) => [path(owners.get(one.holder), one.name), one]));
    if (registered.size !== recipe.datasets.length || found.length !== recipe.datasets.length) stop("The study names other datasets than the recipe’s bytes. Do not sign; tell the operator.");
    for (const spec of recipe.datasets) {
      const one = registered.get(path(spec.owner, spec.name));
      if (!one) stop("The study’s datasets do not include " + path(spec.owner, spec.name) + ", which the recipe reads. Do not sign; tell the operator.");
      if (one.schemaHash !== (await Recipe.schemaHash(spec.columns))) stop(path(spec.owner, spec.name) + " was registered with other columns than the recipe’s bytes name. Do not sign; tell the operator.");
    }
    const row = (one) => [one.dataset.dataset, ...["name", "owner", "version", "rows"].map((name) => cell(one, name)), hash(one, "id"), ...["lifetime", "allowance", "day"].map((name) => cell(one, name))].join(" ");
    const told = (one, index) =>
      [one.id, one.name, Calldata.visible(owners.get(one.holder)), Draw.version(content.versions[index], one.number), Draw.count(one.rows), shortened(one.id), Draw.account(one.account), Draw.account(one.allowance), Draw.daily(one.allowance)].join(" ");
    const truth = found.map(told);
    Reading.same("Datasets and budget", rows("dataset").map(row).sort().join("\n"), truth.sort().join("\n"));
    return "Asked of your wallet’s node: the study’s datasets are held by the owners that the recipe’s bytes name, under these names and with these columns; lifetime accounts and allowances are as shown.";
  };

  // The server builds the same call by other code: a mistake in either shows.
  const server = async (wanted) => {
    const answer = await fetch("/v1/calls", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ consortium: wanted.consortium, action: "approve", study: wanted.study }),
      credentials: "omit",
      redirect: "error",
    });
    const call = await answer.json();
    if (!answer.ok) stop(call.message || "the server refuses");
    const expected = [wanted.consortium, Model.functions.approve, Calldata.approve(wanted.content), wanted.chain];
    if ([call.to, call.function, call.data, String(call.chainId)].some((value, index) => value !== expected[index])) {
      stop("The server prepared another call than the one shown here. Do not sign; tell the operator.");
    }
    return "Compared with the server: it built the same call, byte for byte.";
  };

  return Object.freeze({ chain, study, bytes, standing, votes, datasets, server });
})();
