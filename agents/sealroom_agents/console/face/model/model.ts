// SPDX-License-Identifier: Apache-2.0
// What owners call and sign, as sealroom.model defines it, and what recipes promise.
// Written by `make abi`; never by hand.

export const domain = {"name": "Sealroom Consortium", "version": "2"} as const;

export const domainFields = [
  ["name", "string"],
  ["version", "string"],
  ["chainId", "uint256"],
  ["verifyingContract", "address"],
] as const;

/** The fields of each structure in order: name, type, what people read beside it, unit. */
export const structs = {
  Study: [
    ["composeHash", "bytes32", "recipe", ""],
    ["outputHash", "bytes32", "output", ""],
    ["privacyHash", "bytes32", "privacy", ""],
    ["datasets", "bytes32[]", "dataset", ""],
    ["versions", "uint32[]", "version", ""],
    ["epsilonMicro", "uint64", "epsilon", "micro"],
    ["deltaPico", "uint64", "delta", "pico"],
    ["maxRuns", "uint32", "runs", ""],
    ["expiry", "uint64", "expires", "seconds"],
    ["basis", "bytes32", "basis", ""],
    ["nonce", "uint64", "studies before", ""],
  ],
  ApproveStudy: [
    ["owner", "address", "owner", ""],
    ["study", "Study", "study", ""],
  ],
  Withdraw: [
    ["owner", "address", "owner", ""],
    ["proposal", "bytes32", "proposal", ""],
  ],
  Revoke: [
    ["owner", "address", "owner", ""],
    ["reason", "string", "reason", ""],
    ["returns", "uint64", "returns", ""],
  ],
} as const;

/** What the pages call and ask, as the contracts' ABIs have it. */
export const consortiumAbi = [
  {"inputs": [{"components": [{"name": "composeHash", "type": "bytes32"}, {"name": "outputHash", "type": "bytes32"}, {"name": "privacyHash", "type": "bytes32"}, {"name": "datasets", "type": "bytes32[]"}, {"name": "versions", "type": "uint32[]"}, {"name": "epsilonMicro", "type": "uint64"}, {"name": "deltaPico", "type": "uint64"}, {"name": "maxRuns", "type": "uint32"}, {"name": "expiry", "type": "uint64"}, {"name": "basis", "type": "bytes32"}, {"name": "nonce", "type": "uint64"}], "name": "s", "type": "tuple"}, {"components": [{"name": "owner", "type": "address"}, {"name": "signature", "type": "bytes"}], "name": "by", "type": "tuple[]"}], "name": "approve", "outputs": [], "stateMutability": "nonpayable", "type": "function"},
  {"inputs": [{"name": "proposal", "type": "bytes32"}], "name": "withdraw", "outputs": [], "stateMutability": "nonpayable", "type": "function"},
  {"inputs": [{"name": "reason", "type": "string"}], "name": "revoke", "outputs": [], "stateMutability": "nonpayable", "type": "function"},
  {"inputs": [], "name": "owners", "outputs": [{"components": [{"name": "account", "type": "address"}, {"name": "jurisdiction", "type": "bytes2"}, {"name": "regimes", "type": "uint16"}, {"name": "id", "type": "bytes32"}], "name": "list", "type": "tuple[]"}], "stateMutability": "view", "type": "function"},
  {"inputs": [], "name": "basis", "outputs": [{"name": "", "type": "bytes32"}], "stateMutability": "view", "type": "function"},
  {"inputs": [], "name": "state", "outputs": [{"components": [{"name": "mark", "type": "uint80"}, {"name": "pins", "type": "uint24"}, {"name": "until", "type": "uint32"}, {"name": "approvedAt", "type": "uint32"}, {"name": "approvals", "type": "uint16"}, {"name": "revokers", "type": "uint16"}, {"name": "roster", "type": "uint16"}, {"name": "roll", "type": "uint24"}, {"name": "threshold", "type": "uint8"}, {"name": "ended", "type": "uint8"}], "name": "", "type": "tuple"}], "stateMutability": "view", "type": "function"},
  {"inputs": [{"name": "proposal", "type": "bytes32"}], "name": "votes", "outputs": [{"components": [{"name": "approved", "type": "uint16"}, {"name": "withdrawn", "type": "uint16"}, {"name": "roster", "type": "uint16"}, {"name": "kind", "type": "uint8"}, {"name": "since", "type": "uint32"}, {"name": "base", "type": "bytes20"}], "name": "v", "type": "tuple"}, {"name": "count", "type": "bool"}], "stateMutability": "view", "type": "function"},
  {"inputs": [{"name": "roll", "type": "uint256"}, {"name": "seats", "type": "uint256"}], "name": "accountsAt", "outputs": [{"name": "list", "type": "address[]"}], "stateMutability": "view", "type": "function"},
  {"inputs": [{"name": "id", "type": "bytes32"}], "name": "returnsOf", "outputs": [{"name": "", "type": "uint64"}], "stateMutability": "view", "type": "function"},
  {"inputs": [], "name": "ledger", "outputs": [{"name": "", "type": "address"}], "stateMutability": "view", "type": "function"},
  {"inputs": [], "name": "chronicle", "outputs": [{"components": [{"name": "lastBlock", "type": "uint64"}, {"name": "steps", "type": "uint64"}, {"name": "steppedBlock", "type": "uint64"}, {"name": "seats", "type": "uint16"}, {"name": "confirmed", "type": "uint16"}, {"name": "events", "type": "uint32"}], "name": "", "type": "tuple"}], "stateMutability": "view", "type": "function"},
] as const;

/** All that a consortium tells, so that a page can walk from each event to the one before. */
export const consortiumEvents = [
  {"anonymous": false, "inputs": [{"indexed": true, "name": "proposal", "type": "bytes32"}, {"indexed": true, "name": "owner", "type": "address"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "Approved", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "owner", "type": "address"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "Confirmed", "type": "event"},
  {"anonymous": false, "inputs": [], "name": "EIP712DomainChanged", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "proposal", "type": "bytes32"}, {"indexed": false, "name": "approvals", "type": "uint16"}, {"components": [{"name": "osImages", "type": "bytes32[]"}, {"name": "devices", "type": "bytes32[]"}], "indexed": false, "name": "machines", "type": "tuple"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "MachinesAdded", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "proposal", "type": "bytes32"}, {"components": [{"name": "osImages", "type": "bytes32[]"}, {"name": "devices", "type": "bytes32[]"}], "indexed": false, "name": "machines", "type": "tuple"}, {"components": [{"name": "expiry", "type": "uint64"}, {"name": "follows", "type": "bytes32"}], "indexed": false, "name": "terms", "type": "tuple"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "MachinesProposed", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "proposal", "type": "bytes32"}, {"indexed": false, "name": "charter", "type": "bytes32"}, {"indexed": false, "name": "approvals", "type": "uint16"}, {"components": [{"name": "gateRoot", "type": "bytes32"}, {"name": "gateSigner", "type": "address"}, {"name": "gateCompose", "type": "bytes32"}, {"name": "policyHash", "type": "bytes32"}, {"name": "osImages", "type": "bytes32[]"}, {"name": "devices", "type": "bytes32[]"}], "indexed": false, "name": "platform", "type": "tuple"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "PlatformAdopted", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "proposal", "type": "bytes32"}, {"components": [{"name": "gateRoot", "type": "bytes32"}, {"name": "gateSigner", "type": "address"}, {"name": "gateCompose", "type": "bytes32"}, {"name": "policyHash", "type": "bytes32"}, {"name": "osImages", "type": "bytes32[]"}, {"name": "devices", "type": "bytes32[]"}], "indexed": false, "name": "platform", "type": "tuple"}, {"components": [{"name": "expiry", "type": "uint64"}, {"name": "follows", "type": "bytes32"}], "indexed": false, "name": "terms", "type": "tuple"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "PlatformProposed", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "owner", "type": "address"}, {"indexed": true, "name": "study", "type": "bytes32"}, {"indexed": true, "name": "composeHash", "type": "bytes32"}, {"indexed": false, "name": "mark", "type": "uint80"}, {"indexed": false, "name": "reason", "type": "string"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "Revoked", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "proposal", "type": "bytes32"}, {"indexed": false, "name": "roll", "type": "uint24"}, {"indexed": false, "name": "approvals", "type": "uint16"}, {"components": [{"name": "remove", "type": "bytes32[]"}, {"components": [{"name": "account", "type": "address"}, {"name": "jurisdiction", "type": "bytes2"}, {"name": "regimes", "type": "uint16"}, {"name": "id", "type": "bytes32"}], "name": "add", "type": "tuple[]"}, {"name": "threshold", "type": "uint8"}], "indexed": false, "name": "roster", "type": "tuple"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "RosterChanged", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "proposal", "type": "bytes32"}, {"components": [{"name": "remove", "type": "bytes32[]"}, {"components": [{"name": "account", "type": "address"}, {"name": "jurisdiction", "type": "bytes2"}, {"name": "regimes", "type": "uint16"}, {"name": "id", "type": "bytes32"}], "name": "add", "type": "tuple[]"}, {"name": "threshold", "type": "uint8"}], "indexed": false, "name": "roster", "type": "tuple"}, {"components": [{"name": "expiry", "type": "uint64"}, {"name": "follows", "type": "bytes32"}], "indexed": false, "name": "terms", "type": "tuple"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "RosterProposed", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "owner", "type": "address"}, {"indexed": true, "name": "to", "type": "address"}, {"indexed": false, "name": "roll", "type": "uint24"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "SeatMoved", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "owner", "type": "address"}, {"indexed": true, "name": "to", "type": "address"}, {"indexed": false, "name": "from", "type": "uint256"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "SeatOffered", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "study", "type": "bytes32"}, {"indexed": true, "name": "composeHash", "type": "bytes32"}, {"indexed": false, "name": "roll", "type": "uint24"}, {"indexed": false, "name": "approvals", "type": "uint16"}, {"components": [{"name": "composeHash", "type": "bytes32"}, {"name": "outputHash", "type": "bytes32"}, {"name": "privacyHash", "type": "bytes32"}, {"name": "datasets", "type": "bytes32[]"}, {"name": "versions", "type": "uint32[]"}, {"name": "epsilonMicro", "type": "uint64"}, {"name": "deltaPico", "type": "uint64"}, {"name": "maxRuns", "type": "uint32"}, {"name": "expiry", "type": "uint64"}, {"name": "basis", "type": "bytes32"}, {"name": "nonce", "type": "uint64"}], "indexed": false, "name": "content", "type": "tuple"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "StudyPinned", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "study", "type": "bytes32"}, {"indexed": true, "name": "composeHash", "type": "bytes32"}, {"indexed": true, "name": "by", "type": "address"}, {"components": [{"name": "composeHash", "type": "bytes32"}, {"name": "outputHash", "type": "bytes32"}, {"name": "privacyHash", "type": "bytes32"}, {"name": "datasets", "type": "bytes32[]"}, {"name": "versions", "type": "uint32[]"}, {"name": "epsilonMicro", "type": "uint64"}, {"name": "deltaPico", "type": "uint64"}, {"name": "maxRuns", "type": "uint32"}, {"name": "expiry", "type": "uint64"}, {"name": "basis", "type": "bytes32"}, {"name": "nonce", "type": "uint64"}], "indexed": false, "name": "content", "type": "tuple"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "StudyProposed", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "composeHash", "type": "bytes32"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "UnpinFailed", "type": "event"},
  {"anonymous": false, "inputs": [{"indexed": true, "name": "proposal", "type": "bytes32"}, {"indexed": true, "name": "owner", "type": "address"}, {"indexed": false, "name": "previousBlock", "type": "uint64"}], "name": "Withdrawn", "type": "event"},
] as const;

export const ledgerAbi = [
  {"inputs": [{"name": "dataset", "type": "bytes32"}], "name": "datasetOf", "outputs": [{"components": [{"name": "holder", "type": "address"}, {"name": "versions", "type": "uint32"}, {"name": "tenure", "type": "uint32"}, {"name": "name", "type": "string"}], "name": "", "type": "tuple"}], "stateMutability": "view", "type": "function"},
  {"inputs": [{"name": "dataset", "type": "bytes32"}, {"name": "number", "type": "uint32"}], "name": "versionOf", "outputs": [{"components": [{"name": "header", "type": "bytes32"}, {"name": "index", "type": "bytes32"}, {"name": "keyCommitment", "type": "bytes32"}, {"name": "schemaHash", "type": "bytes32"}, {"name": "rows", "type": "uint64"}], "name": "", "type": "tuple"}], "stateMutability": "view", "type": "function"},
  {"inputs": [{"name": "dataset", "type": "bytes32"}], "name": "accountOf", "outputs": [{"components": [{"name": "epsilonCap", "type": "uint32"}, {"name": "epsilonSpent", "type": "uint32"}, {"name": "deltaCap", "type": "uint40"}, {"name": "deltaSpent", "type": "uint40"}], "name": "", "type": "tuple"}], "stateMutability": "view", "type": "function"},
  {"inputs": [{"name": "dataset", "type": "bytes32"}, {"name": "consortium", "type": "address"}], "name": "allowanceOf", "outputs": [{"components": [{"name": "epsilonCap", "type": "uint32"}, {"name": "epsilonSpent", "type": "uint32"}, {"name": "deltaCap", "type": "uint40"}, {"name": "deltaSpent", "type": "uint40"}, {"name": "epsilonPerDay", "type": "uint32"}, {"name": "epsilonToday", "type": "uint32"}, {"name": "runsPerDay", "type": "uint16"}, {"name": "runsToday", "type": "uint16"}, {"name": "day", "type": "uint16"}], "name": "", "type": "tuple"}], "stateMutability": "view", "type": "function"},
] as const;

export const functions = {
  approve: "approve((bytes32,bytes32,bytes32,bytes32[],uint32[],uint64,uint64,uint32,uint64,bytes32,uint64),(address,bytes)[])",
  withdraw: "withdraw(bytes32)",
  revoke: "revoke(string)",
} as const;

export const events = {
  StudyProposed: "0xe993351c26b3bd254b812ada175af777716022db7ab5c2cd30dc6c29c88dfa97",
  Approved: "0x9c393fce2fd91951ce3f00b36016bca64703f85be981a27c482257e8e4e5dcb2",
  StudyPinned: "0x016f838032c10f2c051a399a20dc5fd898461c8c3120e400cbaddb15d3789096",
  Withdrawn: "0x9b0f6f68eabfb879797d99efa5b3ee058e42b611bbd27f74e2012125a1a87224",
  Revoked: "0x7b6c092ccadba4df1b843096f58436336336909b249897df8191ba6c23f58448",
} as const;

/** Why consortium or ledger refuse, by the first four bytes of the answer. */
export const errors: Readonly<Record<string, string>> = {
  "0x90e7ad94": "ConsortiumAlreadyApproved",
  "0x4feed2f7": "ConsortiumBadSignature",
  "0x3773cc69": "ConsortiumCodeMissing",
  "0xfe82334c": "ConsortiumDatasetLocked",
  "0xb508169a": "ConsortiumExpiryOutOfRange",
  "0xd8b391f0": "ConsortiumGasTooLow",
  "0x9a1bd8c9": "ConsortiumIncomplete",
  "0x06f6a640": "ConsortiumNoHandover",
  "0x0437ccd9": "ConsortiumNonceMismatch",
  "0x73344d91": "ConsortiumNotDue",
  "0xfc76ce8c": "ConsortiumNotOwner",
  "0xe5f5a49e": "ConsortiumNotSorted",
  "0x1446a4e7": "ConsortiumNothingToUnpin",
  "0xd4c8e9a9": "ConsortiumNothingToWithdraw",
  "0x73cde63c": "ConsortiumOwnerInvalid",
  "0x2c1105b3": "ConsortiumOwnerNotSeated",
  "0x9029460e": "ConsortiumOwnerSeated",
  "0x3374d493": "ConsortiumOwnerTaken",
  "0x994c96b7": "ConsortiumOwnersTooMany",
  "0xf4c6cf87": "ConsortiumSignersNotSorted",
  "0xc4630455": "ConsortiumStale",
  "0x3102819d": "ConsortiumThreshold",
  "0x1230cf23": "ConsortiumVetoStands",
  "0xd96a3317": "ConsortiumWithdrawn",
  "0xb3512b0c": "InvalidShortString",
  "0x305a27a9": "StringTooLong",
  "0x912fbd7e": "LedgerBadSignature",
  "0x627a8b6b": "LedgerBatchNumber",
  "0x2ab6d948": "LedgerBatchSize",
  "0x0c35d348": "LedgerMissingCode",
  "0x0551e4bb": "LedgerNotGate",
  "0x3b9db6e7": "LedgerOpeningMismatch",
  "0xcadae0bc": "LedgerReceiptExists",
  "0xeae53db6": "LedgerReceiptMismatch",
  "0xabd5670a": "LedgerRunCount",
  "0x667eca89": "LedgerRunExists",
  "0xe0d86143": "LedgerRunIncomplete",
  "0x202bfd8b": "LedgerRunLate",
  "0xf20c8360": "LedgerRunsExhausted",
  "0x85f8700f": "LedgerStanding",
  "0x8b3bd74f": "LedgerStudyExceeds",
  "0xfbc72eec": "LedgerStudyNotLive",
  "0xa3a2dbde": "RegistryCapBelowSpent",
  "0x4eb5694f": "RegistryExceeds",
  "0x6652f566": "RegistryExists",
  "0xeee9b8e5": "RegistryName",
  "0xa20bf694": "RegistryNoHandover",
  "0xdf1ecae3": "RegistryNotHolder",
  "0x00da7a35": "RegistryTooMany",
  "0xc035c4ae": "RegistryVersion",
  "0x09c22418": "RegistryVersionUnknown",
};

export interface Guarantee {
  readonly name: string;
  readonly sentence: string;
  /** Whether a script computes. */
  readonly byScript: boolean;
  /** Whether all rests on reading that script. */
  readonly mustRead: boolean;
}

/** What recipes promise. */
export const guarantees: Readonly<Record<string, Guarantee>> = {
  "by-construction": {"name": "by-construction", "sentence": "Each person's rows depend on that person's data alone, whoever wrote the study: only SQL that keeps people apart compiles, and only what was compiled runs.", "byScript": false, "mustRead": false},
  "by-blocks": {"name": "by-blocks", "sentence": "Each person is in one block, the script sees one block at a time, and noise hides whatever a block hands in. It does not cover a script written to leave a trace in the machine's speed for the blocks after it.", "byScript": true, "mustRead": false},
  "by-reading": {"name": "by-reading", "sentence": "The promise rests on reading the script: no code checks that it makes each person's row from that person's data alone, and a script that does not can let exact records leave.", "byScript": true, "mustRead": true},
};

/** Of a transaction: the most gas, what a vote may need for each word of its call, calls that are votes. */
export const gas = { most: 16000000n, slot: 22100n, votes: ["0x20f17f75"] } as const;

export const maxOwners = 16;
export const maxReasonBytes = 256;
/** Proposals of one owner that a page lists, the newest. */
export const shownOfEachOwner = 8;
