// SPDX-License-Identifier: Apache-2.0
// What the address bar names. People paste addresses in mixed case (EIP-55), and the server takes them so: case tells nothing.

/** The consortium in `/studies/0x…` with this ending, in lower case; `undefined` for another path. */
export const consortiumOf = (ending: "" | "/change"): string | undefined => {
  const [, consortium, rest] = /\/studies\/(0x[0-9a-f]{40})(\/change)?$/.exec(window.location.pathname.toLowerCase()) ?? [];
  return (rest ?? "") === ending ? consortium : undefined;
};
