// SPDX-License-Identifier: Apache-2.0
// The three acts of an owner, each whole in one object: what its dialog says, what must hold before, the one call and the one
// message that it may ask of a wallet, and the event that shows that it happened. None shares anything with another.
"use strict";

const Actions = (() => {
  const { fact, code } = Draw;

  const place = (wanted) => [fact("Consortium", code(wanted.consortium)), fact("Chain id", wanted.chain)];

  const call = (name, data) => [fact("Call", code(Model.functions[name])), fact("Call data", code(data))];

  const asText = (content) => JSON.stringify(Calldata.content(content));

  const approve = Object.freeze({
    act: "approve",
    title: "Approve this recipe",
    lead: "You agree that exactly this recipe may compute on your data, once enough owners have approved. The first approval of a study proposes it.",
    tone: "primary",
    sendLabel: "Approve: send 1 transaction",
    signLabel: "Approve: sign only, send nothing",
    asksReason: false,
    checks: Object.freeze([
      ["Reading the recipe’s bytes", Checks.bytes],
      ["Asking the wallet for its chain", Checks.chain],
      ["Computing the study id", Checks.study],
      ["Asking the wallet’s node for the proposal", Checks.standing],
      ["Asking the wallet’s node for the owners", Checks.votes],
      ["Asking the wallet’s node for the datasets", Checks.datasets],
      ["Comparing with the server’s call", Checks.server],
    ]),
    data: (wanted) => Calldata.approve(wanted.content),
    isMine: (back, wanted) => back.act === "approve" && asText(back.content) === asText(wanted.content),
    async summary(wanted) {
      const { recipe } = await Reading.recipe(wanted);
      const { privacy } = recipe;
      const most = recipe.epsilonMicro * BigInt(wanted.content.maxRuns);
      const { relation } = recipe;
      const facts = [
        fact("Study", recipe.name + ": ", ...Draw.prose(recipe.question)),
        fact("Budget", Draw.budget(wanted.content) + "; one run costs ε " + Draw.epsilon(recipe.epsilonMicro) + ", all " + wanted.content.maxRuns + " cost ε " + Draw.epsilon(most)),
        fact("Protects", "each ", code(recipe.unit), " with all its rows; nothing about fewer than " + privacy.minimum_cohort),
        fact("Reads", Draw.reads(recipe)),
        ...(relation ? [fact("Result", Draw.rows(relation.rows) + "; SQL that gives more does not compile")] : []),
        ...(relation && relation.people ? [fact("People", Draw.people(relation.people))] : []),
      ];
      const heading = (text) => Draw.make("h3", "", text);
      const computes = [heading(relation ? "The researcher’s SQL" : "The script"), Draw.numbered(relation ? relation.sql : recipe.analysis, "Source text")];
      const compiled = Draw.make("p", "quiet", "What runs is compiled from this SQL by the enclave. You sign for the SQL; what is compiled from it, ", code("sealroom relation app-compose.json"), " shows on a machine of your own.");
      return [Draw.promise(recipe), Draw.make("dl", "facts", ...facts), heading("All that may leave"), Draw.leaves(recipe), ...computes, ...(relation ? [compiled] : [])];
    },
    facts: (wanted) => [
      fact("Study id", code(wanted.study)),
      fact("Compose hash", code(wanted.content.composeHash)),
      fact("Output contract", code(wanted.content.outputHash)),
      fact("Privacy policy", code(wanted.content.privacyHash)),
      fact("Datasets", code(wanted.content.datasets.join(" "))),
      fact("Versions", wanted.content.versions.join(", ") + " (0: the newest when a run opens)"),
      fact("Basis", code(wanted.content.basis)),
      fact("Studies pinned before", wanted.content.nonce),
      ...Draw.further(wanted.content),
      ...place(wanted),
      ...call("approve", Calldata.approve(wanted.content)),
    ],
    message: (wanted, owner) =>
      Calldata.typedData("ApproveStudy", { owner, study: wanted.content }, wanted),
    primaryType: "ApproveStudy",
    proposal: (wanted) => wanted.study,
    signed: "Signed. It does not count yet: to submit it, pass this file to",
    command: (wanted) => "sealroom govern approve " + wanted.study + " --consortium " + wanted.consortium + " --recipe app-compose.json --signatures FILE",
    // The approval that completes a quorum is told by the pin alone.
    happened: (log, wanted, owner) =>
      log.topics[1] === wanted.study && (log.topics[0] === Model.events.StudyPinned || (log.topics[0] === Model.events.Approved && log.topics[2].endsWith(owner.slice(2)))),
    done: "Approved",
  });

  const withdraw = Object.freeze({
    act: "withdraw",
    title: "Withdraw your approval",
    lead: "Your approval of this study, whether given or signed and not handed in, no longer counts. There is no way back for this study; a new proposal can have your approval. This stops nothing that is live: for that, revoke.",
    tone: "danger",
    sendLabel: "Withdraw: send 1 transaction",
    signLabel: "Withdraw: sign only, send nothing",
    asksReason: false,
    checks: Object.freeze([
      ["Asking the wallet for its chain", Checks.chain],
      ["Computing the study id", Checks.study],
    ]),
    data: (wanted) => Calldata.withdraw(wanted.study),
    isMine: (back, wanted) => back.act === "withdraw" && back.study === wanted.study,
    summary: async (wanted) => [
      Draw.make("dl", "facts", fact("Study id", code(wanted.study)), fact("Compose hash", code(wanted.content.composeHash)), fact("Budget", Draw.budget(wanted.content))),
    ],
    facts: (wanted) => [...place(wanted), ...call("withdraw", Calldata.withdraw(wanted.study))],
    message: (wanted, owner) => Calldata.typedData("Withdraw", { owner, proposal: wanted.study }, wanted),
    primaryType: "Withdraw",
    proposal: (wanted) => wanted.study,
    signed: "Signed. Your approval is not withdrawn yet: any account must submit this file with",
    command: (wanted) => "sealroom govern withdraw " + wanted.study + " --consortium " + wanted.consortium + " --signatures FILE",
    happened: (log, wanted, owner) => log.topics[0] === Model.events.Withdrawn && log.topics[1] === wanted.study && log.topics[2].endsWith(owner.slice(2)),
    done: "Withdrawn",
  });

  const revoke = Object.freeze({
    act: "revoke",
    title: "Revoke: stop everything",
    lead: "One transaction stops everything: no key is released, running enclaves lose their lease, and only a new quorum with your approval brings it back. Votes on owners and machines go on counting.",
    tone: "danger",
    sendLabel: "Revoke now: send 1 transaction",
    signLabel: "Sign only: stops nothing yet",
    asksReason: true,
    // Stopping must work when the server lies: nothing of it is asked but the address, which the address bar shows too.
    checks: Object.freeze([]),
    data: (wanted) => Calldata.revoke(wanted.reason),
    isMine: (back, wanted) => back.act === "revoke" && back.reason === wanted.reason,
    summary: async () => [],
    facts: (wanted) => [fact("Reason", ...Draw.prose(wanted.reason)), ...place(wanted), ...call("revoke", Calldata.revoke(wanted.reason))],
    // The counter of the owner's vetoes that were lifted: with it the signature works once, and nobody else can void it.
    asksReturns: true,
    message: (wanted, owner, returns) => Calldata.typedData("Revoke", { owner, reason: wanted.reason, returns }, wanted),
    primaryType: "Revoke",
    proposal: () => "0x" + "0".repeat(64),
    signed: "Signed. This stops nothing yet: any account must submit this file, with the same words, with",
    command: (wanted) => "sealroom govern revoke --consortium " + wanted.consortium + " --reason " + JSON.stringify(wanted.reason) + " --signatures FILE",
    happened: (log, wanted, owner) => log.topics[0] === Model.events.Revoked && log.topics[1].endsWith(owner.slice(2)),
    done: "Revoked",
  });

  // The last look before a wallet is asked: the final bytes, read by other code, must be this dialog's act and no other.
  const guardCall = (action, wanted, data) => {
    if (!action.isMine(Calldata.readBack(data), wanted)) throw new Error("The call is not what this dialog shows. Nothing was asked of your wallet; tell the operator.");
    return data;
  };

  const guardMessage = (action, wanted, owner, data) => {
    const { domain, message } = data;
    const here = domain.verifyingContract === wanted.consortium && String(domain.chainId) === wanted.chain;
    if (!here || message.owner !== owner || !action.isMine(Calldata.readMessage(data), wanted)) {
      throw new Error("The message is not what this dialog shows. Nothing was asked of your wallet; tell the operator.");
    }
    return data;
  };

  return Object.freeze({ approve, withdraw, revoke, guardCall, guardMessage });
})();
