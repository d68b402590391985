// SPDX-License-Identifier: Apache-2.0
// Text of others as pages show it: nothing hides in it.

const numbered = (one: string): string => "\\u{" + (one.codePointAt(0) ?? 0).toString(16) + "}";

/** Invisible characters and those that reorder text are shown by their number, as the server does. */
export const printable = (text: string): string =>
  text.replace(/[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu, (one) => (one === " " || one === "\n" ? one : numbered(one)));

/** The same of everything but printable ASCII, for names and source text. */
export const visible = (text: string): string => text.replace(/[^\x20-\x7e]/gu, numbered);

/** What an error says; wallets throw objects of their own. */
export const messageOf = (error: unknown): string => {
  const message = typeof error === "object" && error !== null && "message" in error ? error.message : "";
  return (typeof message === "string" && message) || String(error);
};
