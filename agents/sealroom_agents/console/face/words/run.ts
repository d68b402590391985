// SPDX-License-Identifier: Apache-2.0
// The words of the run page's script; the page's own are in words.toml.

export const SAY = {
  lost: "The connection is lost. What is here may be old; it is tried again.",
  full: "The console cannot be followed now. What is here may be old; it is asked again.",
  holds: "The lease holds",
  out: "No renewal came",
} as const;
