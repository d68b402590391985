// SPDX-License-Identifier: Apache-2.0
// A text as a file on the reader's machine: it is asked of no server.

export const save = (name: string, text: string): void => {
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
};
