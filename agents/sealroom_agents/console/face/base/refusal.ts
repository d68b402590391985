// SPDX-License-Identifier: Apache-2.0
// Why something does not hold, as the Python package says it: a stable code, and one sentence.

export class Refusal extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export const refuse = (code: string, message: string): never => {
  throw new Refusal(code, message);
};
