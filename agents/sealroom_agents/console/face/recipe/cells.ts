// SPDX-License-Identifier: Apache-2.0
// The declared groups of a field: the product of the labels of its groups, in declared order. Twin of
// `sealroom.privacy.cells`.
import type { Groups, Members } from "./members.ts";
import { boundsError } from "./members.ts";

const MAX_BY = 4;
export const MAX_CELLS = 4096;

export class Cells {
  readonly count: number;

  private constructor(
    readonly by: readonly string[],
    readonly labels: readonly (readonly string[])[],
  ) {
    this.count = labels.reduce((product, each) => product * each.length, 1);
  }

  /** Takes `by`. */
  static read(members: Members, groups: Groups): Cells {
    const by = members.array("by", MAX_BY).map((name, place, all) => {
      if (typeof name !== "string" || !groups.has(name)) return members.fail("is by a column that groups does not declare");
      return all.indexOf(name) < place ? members.fail(`is twice by ${name}`) : name;
    });
    const cells = new Cells(by, by.map((name) => groups.get(name) ?? []));
    return cells.count > MAX_CELLS ? boundsError(`a field has more than ${MAX_CELLS} cells`) : cells;
  }

  /** The labels of every cell; one empty name when nothing is grouped. */
  names(): Map<string, string>[] {
    let found: Map<string, string>[] = [new Map()];
    this.by.forEach((name, place) => {
      found = found.flatMap((before) => (this.labels[place] ?? []).map((text) => new Map([...before, [name, text]])));
    });
    return found;
  }
}
