// SPDX-License-Identifier: Apache-2.0
// How many files are read together, and how large each may be: a model file with its envelope is the largest.

export const MAX_FILES = 8;
export const MAX_FILE_BYTES = 20 * 1024 * 1024;

export interface Dropped {
  name: string;
  data: Uint8Array;
}
