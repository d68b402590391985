// SPDX-License-Identifier: Apache-2.0
// Whose word stands in a page where nobody else's does: that of the server which served it, or of the file which it is.

/** Whether the page comes from disk: the build says so (`.ci/face`). */
declare const DISK: boolean;

export const disk = DISK;
export const teller = DISK ? "file" : "server";
/** Whom to tell of a lie. */
export const whom = DISK ? "who made it" : "the operator";
/** What to do where it tells one. */
export const refuse = "Do not sign; tell " + whom + ".";
/** What to do where it has become old. */
export const again = DISK ? "Ask for a new file." : "Reload the page.";
