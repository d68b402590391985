// SPDX-License-Identifier: Apache-2.0
// How a check of a change fails.

export const stop = (message: string): never => {
  throw new Error(message);
};

export const demand = (holds: boolean, what: string): void => {
  if (!holds) stop("The call is not what you asked for: " + what + " differs. Do not sign; tell the operator.");
};
