// SPDX-License-Identifier: Apache-2.0
// The dialog in which an owner sees an act and hands it to the wallet. Each opening makes a dialog of its own from one of the
// `Actions`, with that action's buttons and nothing of any other; closing it throws it away.
"use strict";

const Sign = (() => {
  const { make, code } = Draw;
  const POLL_MS = 500;
  const MINED_WITHIN_MS = 120000;
  const RELOAD_AFTER_MS = 1500;
  const TYPING_MS = 400;
  let opened = 0;

  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  const button = (name, label, onClick) => {
    const made = make("button", name, label);
    made.type = "button";
    made.addEventListener("click", onClick);
    return made;
  };

  const area = (id, label, rows) => {
    const text = make("textarea", "");
    const head = make("label", "", ...label);
    Object.assign(text, { id, rows, spellcheck: false });
    head.htmlFor = id;
    return { text, box: make("div", "", head, text) };
  };

  const mined = async (tx) => {
    const until = Date.now() + MINED_WITHIN_MS;
    while (Date.now() < until) {
      const receipt = await WalletNode.receipt(tx);
      if (receipt) return receipt;
      await pause(POLL_MS);
    }
    throw new Error("Not in a block yet: " + tx + ". It may still come. Reload the page later.");
  };

  const open = (action) => {
    const id = "sign-" + ++opened;
    const dialog = make("dialog", action.act);
    const title = make("h2", "", action.title);
    const reason = area(id + "-reason", ["Why ", make("span", "quiet", "(public, at most 256 bytes)")], 2);
    const summary = make("div", "what");
    const facts = make("dl", "facts");
    const checks = make("ul", "checks");
    const problem = make("p", "notice danger");
    const output = area(id + "-signature", ["Your signature"], 6);
    const told = make("p", "notice warn");
    let turn = 0;
    let prepared = null;
    let pressed = false;

    title.id = id;
    dialog.setAttribute("aria-labelledby", id);
    checks.setAttribute("aria-live", "polite");
    problem.setAttribute("role", "alert");
    problem.hidden = true;
    output.text.readOnly = true;
    reason.text.maxLength = 256;

    const fail = (error) => {
      // Wallets report a refusal by a person as code 4001.
      problem.textContent = error?.code === 4001 ? "You declined in the wallet. Nothing was sent. To try again, close this dialog and open it anew." : error?.message || String(error);
      problem.hidden = false;
      problem.scrollIntoView({ block: "nearest" });
    };

    const forget = () => {
      turn += 1;
      prepared = null;
      send.disabled = sign.disabled = true;
    };

    const step = async (doing, work) => {
      const line = make("li", "", doing);
      checks.append(line);
      // A button was pressed: what it does must be seen on a small screen too.
      if (pressed) line.scrollIntoView({ block: "nearest" });
      try {
        const [said, value] = await work();
        line.textContent = said;
        line.className = "ok";
        return value;
      } catch (error) {
        line.className = "bad";
        throw error;
      }
    };

    // Typing goes on while checks run: only the newest turn may enable a button, for the very act that it checked.
    const prepare = async () => {
      forget();
      const mine = turn;
      const stale = () => mine !== turn;
      checks.replaceChildren();
      problem.hidden = true;
      try {
        WalletNode.present();
        // Stopping takes nothing from the server but the address; the chain is the one that the wallet is on.
        const wanted = Object.freeze(action.asksReason ? { ...Reading.place(), chain: await WalletNode.chain(), reason: reason.text.value } : Reading.page());
        Actions.guardCall(action, wanted, action.data(wanted));
        if (stale()) return;
        facts.replaceChildren(...action.facts(wanted));
        for (const [doing, check] of action.checks) {
          await step(doing, async () => [await check(wanted)]);
          if (stale()) return;
        }
        const owners = await WalletNode.owners(wanted.consortium);
        const drawn = await action.summary(wanted);
        if (stale()) return;
        summary.replaceChildren(...drawn);
        prepared = Object.freeze({ wanted, owners });
        send.disabled = sign.disabled = false;
      } catch (error) {
        if (!stale()) fail(error);
      }
    };

    // A wallet may take as long as its owner likes; who closed the dialog meanwhile has called the act off.
    const stillOpen = () => {
      if (!dialog.open) throw new Error("The dialog was closed. Nothing more is asked of the wallet.");
    };

    // Who acts, on the chain that was shown: asked again, for a wallet may have changed both meanwhile.
    const asOwner = ({ wanted, owners }) =>
      step("Waiting for the wallet", async () => {
        const account = await WalletNode.account(owners);
        await Checks.chain(wanted);
        return ["Asked of your wallet: account " + account + ", an owner by your wallet’s node.", account];
      });

    const onSend = async () => {
      const mine = prepared;
      if (!mine) return;
      forget();
      pressed = reason.text.disabled = true;
      try {
        const { wanted } = mine;
        const from = await asOwner(mine);
        const data = Actions.guardCall(action, wanted, action.data(wanted));
        const tx = await step("Waiting for your signature in the wallet", async () => {
          const call = { from, to: wanted.consortium, data, value: "0x0" };
          const gas = await WalletNode.gas(call);
          stillOpen();
          // With the chain, so that a wallet which went to another one refuses.
          const chainId = "0x" + BigInt(wanted.chain).toString(16);
          const hash = await WalletNode.send({ ...call, ...gas, chainId });
          return ["Sent as " + hash + ". It does not count yet.", hash];
        });
        await step("Waiting for the block", async () => {
          const receipt = await mined(tx);
          if (BigInt(receipt.status) !== 1n) throw new Error("The contract refused the transaction " + tx + ".");
          const told = receipt.logs.some((log) => log.address.toLowerCase() === wanted.consortium && action.happened(log, wanted, from));
          if (!told) throw new Error("The transaction " + tx + " is in a block, but does not show that this happened. Look at the chain.");
          return [action.done + " in block " + BigInt(receipt.blockNumber) + ", by your wallet’s node."];
        });
        await pause(RELOAD_AFTER_MS);
        // Not from under another dialog.
        if (dialog.open || !document.querySelector("dialog")) window.location.reload();
      } catch (error) {
        fail(error);
      }
    };

    // A message that anyone may hand in: nothing is sent from here.
    const onSign = async () => {
      const mine = prepared;
      if (!mine) return;
      forget();
      pressed = reason.text.disabled = true;
      try {
        const { wanted } = mine;
        const owner = await asOwner(mine);
        const returns = action.asksReturns ? await WalletNode.returns(wanted.consortium, owner) : null;
        const data = Actions.guardMessage(action, wanted, owner, action.message(wanted, owner, returns));
        const signature = await step("Waiting for your signature in the wallet", async () => {
          stillOpen();
          return ["Signed; nothing was sent.", await WalletNode.sign(owner, data)];
        });
        if (!/^0x[0-9a-f]+$/i.test(signature)) throw new Error("The wallet’s answer is no signature.");
        const file = {
          version: 2,
          kind: action.primaryType,
          chainId: Number(wanted.chain),
          consortium: wanted.consortium,
          proposal: action.proposal(wanted),
          digest: Keccak.digest(data),
          owner,
          signer: owner,
          signature: signature.toLowerCase(),
        };
        output.text.value = JSON.stringify(file, null, 1);
        told.replaceChildren(action.signed + " ", code(action.command(wanted)));
        actions.before(told, output.box);
        output.text.select();
        told.scrollIntoView({ block: "start" });
      } catch (error) {
        fail(error);
      }
    };

    const cancel = button("", "Cancel", () => dialog.close());
    const sign = button("", action.signLabel, onSign);
    const send = button(action.tone === "danger" ? "danger solid" : action.tone, action.sendLabel, onSend);
    const actions = make("div", "row", cancel, sign, send);
    const bytes = make("details", "", make("summary", "", "What exactly is asked of your wallet"), facts);
    const whose = make("p", "quiet", "This page’s script makes these checks, and came from this console. For a second opinion, read the recipe on another machine with ", code("sealroom recipe --check app-compose.json"), ".");

    dialog.append(title, make("p", "", action.lead));
    if (action.asksReason) dialog.append(reason.box);
    dialog.append(summary, bytes, checks, problem);
    if (action.checks.length) dialog.append(whose);
    dialog.append(actions);
    document.body.append(dialog);

    let typing = null;
    reason.text.addEventListener("input", () => {
      forget();
      clearTimeout(typing);
      if (reason.text.value.trim()) typing = setTimeout(prepare, TYPING_MS);
    });
    dialog.addEventListener("close", () => {
      forget();
      clearTimeout(typing);
      dialog.remove();
    });
    forget();
    dialog.showModal();
    if (action.asksReason) reason.text.focus();
    else prepare();
  };

  for (const one of document.querySelectorAll("button[data-action]")) {
    const action = { approve: Actions.approve, withdraw: Actions.withdraw, revoke: Actions.revoke }[one.dataset.action];
    if (!action) continue;
    one.addEventListener("click", () => open(action));
    // Until here the button would have done nothing.
    one.disabled = false;
  }
})();
