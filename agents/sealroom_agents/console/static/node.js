// SPDX-License-Identifier: Apache-2.0
// The chain as the owner's own wallet sees it (EIP-1193): the one source besides the recipe's bytes that this page does
// not take from its server. Answers are read strictly; a node that answers anything else knows no such contract.
"use strict";

const WalletNode = (() => {
  const MAX_OWNERS = Model.maxOwners;

  const provider = () => {
    if (!window.ethereum || typeof window.ethereum.request !== "function") {
      throw new Error("No wallet found. Install a browser wallet that holds the owner’s account, and reload.");
    }
    return window.ethereum;
  };

  const ask = (method, ...params) => provider().request({ method, params });

  const raw = (to, data) => ask("eth_call", { to, data }, "latest");

  const view = async (consortium, name, argument = "") => {
    const answer = String(await raw(consortium, Model.selectors[name] + argument)).toLowerCase();
    if (!/^0x([0-9a-f]{64})+$/.test(answer)) throw new Error("Your wallet’s node knows no consortium at this address. Is the wallet on the right chain?");
    return answer.slice(2).match(/.{64}/g);
  };

  const small = (word) => {
    const value = Number("0x" + (word ?? "x"));
    if (!Number.isSafeInteger(value)) throw new Error("Your wallet’s node answers a number that cannot be.");
    return value;
  };

  const address = (word) => "0x" + word.slice(24);

  // An owner's name: bytes padded with zeros; what is not ASCII is shown by its number.
  const name = (word) => {
    const bytes = word.replace(/(00)+$/, "").match(/../g) ?? [];
    return bytes.map((byte) => (parseInt(byte, 16) < 128 ? String.fromCharCode(parseInt(byte, 16)) : "\\x" + byte)).join("");
  };

  // A list of `width` words each, behind its offset and its length.
  const list = (words, width) => {
    const length = small(words[1]);
    if (small(words[0]) !== 32 || length > MAX_OWNERS || words.length !== 2 + length * width) throw new Error("Your wallet’s node answers a list that cannot be.");
    return Array.from({ length }, (_, index) => words.slice(2 + index * width, 2 + (index + 1) * width));
  };

  return Object.freeze({
    // Throws where the page has no wallet.
    present: () => void provider(),

    chain: async () => String(BigInt(await ask("eth_chainId"))),

    // The account that the wallet offers and that is an owner.
    async account(owners) {
      const offered = ((await ask("eth_requestAccounts")) ?? []).map((one) => String(one).toLowerCase());
      const account = offered.find((one) => owners.some((owner) => owner.account === one));
      if (!account) throw new Error("None of the accounts that your wallet offers is an owner of this consortium.");
      return account;
    },

    owners: async (consortium) => list(await view(consortium, "owners"), 4).map((words) => ({ account: address(words[0]), id: name(words[1]) })),

    epoch: async (consortium) => String(BigInt("0x" + (await view(consortium, "epoch"))[0])),

    pinCount: async (consortium) => String(BigInt("0x" + (await view(consortium, "pinCount"))[0])),

    threshold: async (consortium) => small((await view(consortium, "threshold"))[0]),

    approvals: async (consortium, study) => list(await view(consortium, "approvals", study.slice(2)), 1).map(([word]) => address(word)),

    async dataset(consortium, id) {
      const words = (await view(consortium, "dataset", id.slice(2))).slice(1);
      const length = small(words[6]);
      const bytes = Uint8Array.from((words.slice(7).join("").match(/../g) ?? []).slice(0, length), (byte) => parseInt(byte, 16));
      return { id, owner: address(words[0]), schemaHash: "0x" + words[3], rows: small(words[4]), name: new TextDecoder().decode(bytes) };
    },

    hashStudy: (consortium, content) => raw(consortium, Calldata.hashStudy(content)),

    // Accounts that proposed a study in a block.
    async proposers(consortium, study, block) {
      const at = "0x" + BigInt(block).toString(16);
      const logs = await ask("eth_getLogs", { address: consortium, fromBlock: at, toBlock: at, topics: [Model.events.StudyProposed, study] });
      // Whatever the node was asked for: only what it answers counts.
      return (logs ?? []).filter((log) => log.address.toLowerCase() === consortium && log.topics[0] === Model.events.StudyProposed && log.topics[1] === study).map((log) => address(log.topics[3].slice(2)));
    },

    send: (transaction) => ask("eth_sendTransaction", transaction),

    sign: (owner, data) => ask("eth_signTypedData_v4", owner, JSON.stringify(data)),

    receipt: (tx) => ask("eth_getTransactionReceipt", tx),
  });
})();
