// SPDX-License-Identifier: Apache-2.0
// Approve, withdraw and revoke with an injected wallet (EIP-1193). An approval names the whole content of a study:
// this page encodes it by itself, shows it from those very fields, compares the call with the server's, and asks the
// wallet's own node which study id that content has. A lying server, or a page that has gone stale, stops here. All
// text is set with textContent.
"use strict";

(() => {
  const element = (id) => document.getElementById(id);
  const dialog = element("sign");
  if (!dialog) return;

  const POLL_MS = 500;
  const MINED_WITHIN_MS = 120000;
  const RELOAD_AFTER_MS = 1500;
  let pending = null;
  let prepared = null;
  let turns = 0;

  const provider = () => {
    if (!window.ethereum || typeof window.ethereum.request !== "function") {
      throw new Error("No wallet found. Install a browser wallet that holds the owner’s account, and reload.");
    }
    return window.ethereum;
  };

  const fact = (name, value, mono) => {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const detail = document.createElement("dd");
    term.textContent = name;
    if (mono) {
      const code = document.createElement("code");
      code.textContent = value;
      detail.append(code);
    } else {
      detail.textContent = value;
    }
    row.append(term, detail);
    element("sign-facts").append(row);
  };

  const check = (text) => {
    const item = document.createElement("li");
    item.textContent = text;
    element("sign-checks").append(item);
    return {
      ok(more) {
        item.className = "ok";
        if (more) item.textContent = more;
      },
      bad() {
        item.className = "bad";
      },
    };
  };

  const fail = (error) => {
    const box = element("sign-error");
    // Wallets report a refusal by a person as code 4001.
    box.textContent = error && error.code === 4001 ? "You declined in the wallet. Nothing was sent." : error.message || String(error);
    box.hidden = false;
    element("sign-go").disabled = true;
    element("sign-only").disabled = true;
  };

  const must = async (text, done, work) => {
    const line = check(text);
    try {
      const value = await work();
      line.ok(typeof done === "function" ? done(value) : done);
      return value;
    } catch (error) {
      line.bad();
      throw error;
    }
  };

  const post = async (path, body) => {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      credentials: "omit",
      redirect: "error",
    });
    const json = await answer.json();
    if (!answer.ok) throw new Error(json.message || "the server refuses");
    return json;
  };

  const serverAgrees = async (wanted) => {
    const body = { consortium: wanted.consortium, action: wanted.action };
    if (wanted.action === "revoke") body.reason = wanted.reason;
    else body.study = wanted.study;
    const call = await post("/v1/calls", body);
    const name = Calldata.functions[wanted.action];
    if (call.to !== wanted.consortium || call.function !== name || call.data !== wanted.data || String(call.chainId) !== wanted.chain) {
      throw new Error("The server prepared another call than the one shown here. Do not sign; tell the operator.");
    }
  };

  const recipeMatches = async (wanted) => {
    const answer = await fetch("/v1/recipes/" + wanted.content.composeHash, { credentials: "omit", redirect: "error" });
    if (!answer.ok) throw new Error("The recipe’s bytes are not here, so nobody can have read them.");
    const bytes = await answer.arrayBuffer();
    const digest = await crypto.subtle.digest("SHA-256", bytes);
    if ("0x" + Calldata.hex(new Uint8Array(digest)) !== wanted.content.composeHash) {
      throw new Error("The recipe’s bytes do not have the compose hash that stands on chain. Do not sign.");
    }
    if (!Calldata.sameLines(analysisIn(JSON.parse(new TextDecoder().decode(bytes))), analysisShown())) {
      throw new Error("The analysis on this page is not the one in the recipe’s bytes. Do not sign.");
    }
  };

  // The recipe's one accepted form ends with the analysis, each line of it indented by four.
  const analysisIn = (recipe) => {
    const [, text] = recipe.docker_compose_file.split("\n  analysis: |\n", 2);
    return text.replace(/\n$/, "").split("\n").map((line) => Calldata.visible(line.replace(/^ {4}/, "")));
  };

  const analysisShown = () => Array.from(document.querySelectorAll(".source li code"), (line) => line.textContent);

  const studyMatches = async (wanted) => {
    const answer = await provider().request({
      method: "eth_call",
      params: [{ to: wanted.consortium, data: Calldata.hashStudy(wanted.content) }, "latest"],
    });
    if (answer !== wanted.study) {
      throw new Error("Your wallet’s node says that this content is another study. Do not sign.");
    }
  };

  const onChain = async (wanted) => {
    const chain = await provider().request({ method: "eth_chainId", params: [] });
    if (String(BigInt(chain)) !== wanted.chain) {
      throw new Error("Your wallet is on chain " + BigInt(chain) + "; this consortium lives on chain " + wanted.chain + ". Switch, and try again.");
    }
  };

  const asOwner = async (wanted) => {
    const accounts = await provider().request({ method: "eth_requestAccounts", params: [] });
    const account = (accounts || []).map((one) => String(one).toLowerCase()).find((one) => wanted.owners.includes(one));
    if (!account) throw new Error("None of the accounts that your wallet offers is an owner of this consortium.");
    return account;
  };

  const mined = async (tx) => {
    const until = Date.now() + MINED_WITHIN_MS;
    while (Date.now() < until) {
      const receipt = await provider().request({ method: "eth_getTransactionReceipt", params: [tx] });
      if (receipt) {
        if (BigInt(receipt.status) !== 1n) throw new Error("The contract refused the transaction " + tx + ".");
        return receipt;
      }
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
    throw new Error("Not mined yet: " + tx + ". Reload the page later.");
  };

  // What is shown is built from `wanted`, and `wanted` alone is what is sent or signed.
  const show = (wanted) => {
    element("sign-facts").replaceChildren();
    const { content } = wanted;
    if (content) {
      const day = new Date(Number(content.expiry) * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
      fact("Recipe", wanted.title);
      fact("Compose hash", content.composeHash, true);
      fact("Budget", "ε " + Calldata.decimal(content.epsilonMicro, 6) + " and δ " + Calldata.decimal(content.deltaPico, 12) + " for at most " + content.maxRuns + " runs, until " + day);
      fact("Output contract", content.outputHash, true);
      fact("Privacy policy", content.privacyHash, true);
      fact("Datasets", content.datasets.join(" "), true);
      fact("Epoch, nonce", content.epoch + ", " + content.nonce);
    }
    if (wanted.study) fact("Study id", wanted.study, true);
    fact("Consortium", wanted.consortium, true);
    fact("Chain id", wanted.chain);
    fact("Call", Calldata.functions[wanted.action], true);
    fact("Call data", wanted.data, true);
  };

  const dataOf = (wanted) => {
    if (wanted.action === "approve") return Calldata.approve(wanted.content);
    return wanted.action === "withdraw" ? Calldata.withdraw(wanted.study) : Calldata.revoke(wanted.reason);
  };

  const prepare = async () => {
    // Typing goes on while checks run: only the newest turn may enable the button, with the call that it checked.
    const turn = ++turns;
    const wanted = { ...pending };
    const stale = () => turn !== turns;
    prepared = null;
    element("sign-checks").replaceChildren();
    element("sign-error").hidden = true;
    try {
      if (!Calldata.isAddress(wanted.consortium)) throw new Error("not a consortium address");
      if (wanted.action === "approve") wanted.content = Calldata.content(JSON.parse(wanted.text));
      wanted.data = dataOf(wanted);
      Object.freeze(wanted);
      show(wanted);
      provider();
      await must("Comparing with the server’s call", "This page and the server built the same call", () => serverAgrees(wanted));
      if (stale()) return;
      await must("Asking the wallet for its chain", "The wallet is on chain " + wanted.chain, () => onChain(wanted));
      if (stale()) return;
      if (wanted.action === "approve") {
        await must("Hashing the recipe’s bytes", "The recipe’s bytes have the compose hash that you approve, and hold the analysis shown on this page", () => recipeMatches(wanted));
        await must("Asking the wallet’s node for the study id", "The wallet’s own node finds the same study id for this content", () => studyMatches(wanted));
      }
      if (stale()) return;
      prepared = wanted;
      element("sign-go").disabled = false;
      element("sign-only").disabled = false;
    } catch (error) {
      if (!stale()) fail(error);
    }
  };

  const forget = () => {
    turns += 1;
    prepared = null;
    element("sign-go").disabled = true;
    element("sign-only").disabled = true;
  };

  const send = async () => {
    const wanted = prepared;
    if (!wanted) return;
    forget();
    element("reason").disabled = true;
    try {
      const from = await must("Waiting for the wallet", (account) => "Account " + account + " is an owner", () => asOwner(wanted));
      await onChain(wanted);
      const tx = await must("Waiting for your signature in the wallet", (hash) => "Sent as " + hash, () =>
        provider().request({ method: "eth_sendTransaction", params: [{ from, to: wanted.consortium, data: wanted.data, value: "0x0" }] }),
      );
      const receipt = await must("Waiting for the block", (found) => "In block " + BigInt(found.blockNumber), () => mined(tx));
      dialog.dataset.tx = receipt.transactionHash;
      await new Promise((done) => setTimeout(done, RELOAD_AFTER_MS));
      window.location.reload();
    } catch (error) {
      fail(error);
    }
  };

  // An approval as a signature, which anyone may hand in together with others: nothing is sent from here.
  const signOnly = async () => {
    const wanted = prepared;
    if (!wanted) return;
    forget();
    try {
      const owner = await must("Waiting for the wallet", (account) => "Account " + account + " is an owner", () => asOwner(wanted));
      await onChain(wanted);
      const data = Calldata.typedData(wanted.content, { owner, chain: wanted.chain, consortium: wanted.consortium });
      const signature = await must("Waiting for your signature in the wallet", "Signed; nothing was sent", () =>
        provider().request({ method: "eth_signTypedData_v4", params: [owner, JSON.stringify(data)] }),
      );
      if (!/^0x[0-9a-f]+$/i.test(signature)) throw new Error("The wallet’s answer is no signature.");
      const file = {
        version: 1,
        kind: "ApproveStudy",
        chainId: Number(wanted.chain),
        consortium: wanted.consortium,
        proposal: wanted.study,
        owner,
        signature: signature.toLowerCase(),
      };
      element("signature").value = JSON.stringify(file, null, 1);
      element("sign-done").hidden = false;
      element("signature").select();
    } catch (error) {
      fail(error);
    }
  };

  const SAYS = {
    approve: {
      title: "Approve this recipe",
      lead: "You agree that exactly this recipe may compute on your data, once enough owners have approved.",
    },
    withdraw: {
      title: "Withdraw your approval",
      lead: "Your approval of this study, whether given or signed and not handed in, no longer counts. There is no way back for this study; a new proposal can have your approval.",
    },
    revoke: {
      title: "Revoke",
      lead: "One transaction stops everything: no key is released, running enclaves lose their lease, and only a new quorum with your approval brings it back.",
    },
  };

  const open = (button) => {
    const around = button.closest(".actions").dataset;
    pending = {
      action: button.dataset.action,
      consortium: around.consortium,
      chain: around.chain,
      owners: around.owners.split(" "),
      study: button.dataset.study,
      text: button.dataset.content,
      title: button.dataset.title,
      reason: "",
    };
    forget();
    const revoking = pending.action === "revoke";
    const approving = pending.action === "approve";
    element("sign-title").textContent = SAYS[pending.action].title;
    element("sign-lead").textContent = SAYS[pending.action].lead;
    element("sign-only").hidden = !approving;
    element("sign-done").hidden = true;
    element("signature").value = "";
    element("sign-reason").hidden = !revoking;
    element("reason").value = "";
    element("reason").disabled = false;
    element("sign-go").classList.toggle("danger", !approving);
    element("sign-go").classList.toggle("solid", !approving);
    element("sign-go").classList.toggle("primary", approving);
    element("sign-facts").replaceChildren();
    element("sign-checks").replaceChildren();
    element("sign-error").hidden = true;
    dialog.showModal();
    if (revoking) element("reason").focus();
    else prepare();
  };

  let typing = null;
  element("reason").addEventListener("input", () => {
    pending.reason = element("reason").value;
    forget();
    clearTimeout(typing);
    if (pending.reason.trim()) typing = setTimeout(prepare, 400);
  });
  element("sign-cancel").addEventListener("click", () => dialog.close());
  element("sign-go").addEventListener("click", send);
  element("sign-only").addEventListener("click", signOnly);
  dialog.addEventListener("close", () => {
    forget();
    pending = null;
    clearTimeout(typing);
  });
  for (const button of document.querySelectorAll("button[data-action]")) {
    button.addEventListener("click", () => open(button));
  }
})();
