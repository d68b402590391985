// SPDX-License-Identifier: Apache-2.0
// Files that are dropped in the page: what they hold fills in a form, or a call is held against it once more.
import { make } from "../parts/dom.ts";
import { messageOf } from "../parts/text.ts";

/** What was read of files, and what the page says of it. */
export interface Read<T> {
  readonly found: T;
  readonly says: readonly Node[];
  /** Whether something that has to hold was left unchecked: such files fill in nothing, and no call is called theirs. */
  readonly open: boolean;
}

/** Where files are dropped, where it is said what they are, and how they are read. */
export interface Place<T> {
  readonly picker: HTMLInputElement;
  readonly said: HTMLElement;
  read(files: readonly File[]): Promise<Read<T>>;
}

/** How a call stands to the files that were dropped last: `open`, it is what they say, and not all of that was checked; `none`,
 * they were taken away. */
export type Judged = "none" | "reading" | "same" | "other" | "open";

/** Calls `take` with what the files hold that are dropped, and says what was computed, or what is wrong. `judged` is told how it
 * stands. */
const dropping = <T>({ picker, said, read }: Place<T>, take: (found: T, open: boolean) => void, judged: (stands: Judged) => void): void => {
  const label = picker.closest("label");
  if (label) label.hidden = false;
  let turn = 0;
  picker.addEventListener("change", () => {
    const files = [...(picker.files ?? [])];
    // Only the files that were dropped last count, whichever are read first.
    const mine = ++turn;
    said.replaceChildren();
    if (!files.length) return judged("none");
    judged("reading");
    read(files)
      .then(({ found, says, open }) => {
        if (mine !== turn) return;
        take(found, open);
        said.append(...says);
        judged(open ? "open" : "same");
      })
      .catch((error: unknown) => {
        if (mine !== turn) return;
        judged("other");
        said.append(make("p", "notice danger", messageOf(error)));
      });
  });
};

/** A form is filled in with what the files hold, where all of it was checked. */
export const filling = <T>(place: Place<T>, fill: (found: T) => void): void => dropping(place, (found, open) => (open ? undefined : fill(found)), () => {});

/** A call is held against the files; `judged` is told how it stands to those that were dropped last. */
export const comparing = <T>(place: Place<T>, holds: (found: T) => void, judged: (stands: Judged) => void): void => dropping(place, holds, judged);
