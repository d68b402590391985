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

  const view = async (to, name, argument = "") => {
    const answer = String(await ask("eth_call", { to, data: Model.selectors[name] + argument }, "latest")).toLowerCase();
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

  const owners = async (consortium) => list(await view(consortium, "owners"), 4).map((words) => ({ account: address(words[0]), id: name(words[3]), word: words[3] }));

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

    owners,

    // What an approval has to follow: the basis, and how many studies were pinned before.
    async standing(consortium) {
      const words = await view(consortium, "state");
      return { basis: "0x" + (await view(consortium, "basis"))[0], pins: String(small(words[1])), threshold: small(words[8]) };
    },

    // Accounts that approved a proposal, and those that withdrew from it; nobody where its votes count no more.
    async votes(consortium, proposal) {
      const [approved, withdrawn, , , , , counts] = await view(consortium, "votes", proposal.slice(2));
      const roll = (await view(consortium, "state"))[7];
      const accounts = async (seats) => list(await view(consortium, "accountsAt", roll + seats), 1).map(([word]) => address(word));
      return { approved: small(counts) ? await accounts(approved) : [], withdrawn: await accounts(withdrawn), counts: small(counts) === 1 };
    },

    // How often an owner's veto was lifted: a signed revocation names it, and works once.
    async returns(consortium, account) {
      const owner = (await owners(consortium)).find((one) => one.account === account);
      if (!owner) throw new Error("Your wallet’s node knows no owner " + account + ".");
      return String(small((await view(consortium, "returnsOf", owner.word))[0]));
    },

    // A dataset as a study uses it: version 0 is the newest.
    async dataset(consortium, id, version) {
      const ledger = address((await view(consortium, "ledger"))[0]);
      const key = id.slice(2);
      const words = (await view(ledger, "datasetOf", key)).slice(1);
      const bytes = Uint8Array.from((words.slice(5).join("").match(/../g) ?? []).slice(0, small(words[4])), (byte) => parseInt(byte, 16));
      const number = version === "0" ? String(small(words[1])) : version;
      const [, , , schemaHash, rows] = await view(ledger, "versionOf", key + Calldata.word(number));
      const account = (await view(ledger, "accountOf", key)).map(small);
      const allowance = (await view(ledger, "allowanceOf", key + consortium.slice(2).padStart(64, "0"))).map(small);
      return { id, holder: address(words[0]), name: new TextDecoder().decode(bytes), number, schemaHash: "0x" + schemaHash, rows: small(rows), account, allowance };
    },

    // Accounts that proposed a study in a block.
    async proposers(consortium, study, block) {
      const at = "0x" + BigInt(block).toString(16);
      const logs = await ask("eth_getLogs", { address: consortium, fromBlock: at, toBlock: at, topics: [Model.events.StudyProposed, study] });
      // Whatever the node was asked for: only what it answers counts.
      return (logs ?? []).filter((log) => log.address.toLowerCase() === consortium && log.topics[0] === Model.events.StudyProposed && log.topics[1] === study).map((log) => address(log.topics[3].slice(2)));
    },

    // The gas of a call, more than its estimate: another owner's vote may come first in the block, so that this one does what
    // is voted for too. What is not used is not paid for. Without an estimate the wallet makes its own, or says why not.
    async gas(call) {
      let estimate;
      try {
        estimate = BigInt(await ask("eth_estimateGas", call));
      } catch {
        return {};
      }
      const { most, slot, votes } = Model.gas;
      const words = BigInt(Math.floor((call.data.length - 2) / 64));
      const room = 2n * estimate + (votes.includes(call.data.slice(0, 10)) ? slot * words : 0n);
      const gas = room < most ? room : most;
      return { gas: "0x" + (gas > estimate ? gas : estimate).toString(16) };
    },

    send: (transaction) => ask("eth_sendTransaction", transaction),

    sign: (owner, data) => ask("eth_signTypedData_v4", owner, JSON.stringify(data)),

    receipt: (tx) => ask("eth_getTransactionReceipt", tx),
  });
})();
