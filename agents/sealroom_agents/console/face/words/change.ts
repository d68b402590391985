// SPDX-License-Identifier: Apache-2.0
// The words of the script of the page of changes; the page’s own are in words.toml, and what each change says of itself stands
// where it is checked, in face/govern.

export const SAY = {
  noRecipe: (why: string): string => "This is no recipe that can be proposed: " + why,
  reading: "Not sent: the file that you dropped is still being read.",
  other: "Not sent: the file is not what this call registers. Drop the file that it registers, or reload the page.",
  fits: "The file is what this call registers. Check it with your wallet.",
  declined: "You declined in the wallet. Nothing was sent.",
  notSent: "Not sent.",
  elsewhere: "The address bar names another consortium than this page. Do not sign; tell the operator.",
  otherChange: "The call is another change than this page shows. Do not sign; tell the operator.",
  otherProposal: "The call votes for another proposal than this page shows. Do not sign; tell the operator.",
  readBack: "Read back from the call’s bytes in this page. Check it with your wallet first.",
  comparing: "Comparing with what you asked for",
  asksWhere: "Asking the wallet’s node where the call goes",
  asksWho: "Asking the wallet who acts",
  tries: "Trying it",
  holdsSafe: "All of it holds. The Safe’s owners sign and execute what is in the file.",
  holds: "All of it holds. Your wallet shows the call once more.",
  saved: "Nothing is sent. Load the file in your Safe’s transaction builder, compare, and let its owners sign and execute it. Nothing counts before.",
  signing: "Waiting for your signature in the wallet",
  otherChain: "Your wallet went to another chain. Nothing was sent.",
  otherAccount: "Your wallet offers another account now. Nothing was sent; reload the page.",
  sent: (hash: string): string => "Sent as " + hash + ". It does not count yet.",
  mining: "Waiting for the block",
  mined: (block: bigint): string => "Done in block " + String(block) + ", by your wallet’s node.",
  done: "Done. Reload the page to see what holds now.",
  voted: "Done.",
  whatBecame: "See what became of this proposal",
  computed: "Computed in this page from the sealed file: its header’s and its index’s SHA-256, and the dataset’s id. Nothing of it was uploaded, and its ciphertext was not read.",
  word: "Read from what was written beside the sealed file: the dataset’s id is computed in this page, the hashes are that file’s word. Drop the sealed file itself to have them computed.",
} as const;
