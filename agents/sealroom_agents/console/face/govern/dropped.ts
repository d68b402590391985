// SPDX-License-Identifier: Apache-2.0
// Sealed files that are dropped in the page: to fill in the form of a registration, and to hold a call against once more.
import { make } from "../parts/dom.ts";
import { messageOf } from "../parts/text.ts";
import { SAY } from "../words/change.ts";
import type { Registers } from "./registering.ts";
import { type Registration, registrationOf } from "./sealed.ts";

/** Calls `take` with what each file that is dropped registers, and says what was computed, or what is wrong. `reading` comes
 * before, `refused` instead. */
const dropping = (picker: HTMLInputElement, said: HTMLElement, take: (found: Registration) => void, reading: () => void = () => {}, refused: () => void = () => {}): void => {
  const label = picker.closest("label");
  if (label) label.hidden = false;
  picker.addEventListener("change", () => {
    const [file] = picker.files ?? [];
    said.replaceChildren();
    if (!file) return;
    // Only the file that was dropped last counts, whichever is read first.
    const newest = (): boolean => picker.files?.[0] === file;
    reading();
    registrationOf(file)
      .then(({ found, computed }) => {
        if (!newest()) return;
        take(found);
        said.append(make("p", "notice", computed ? SAY.computed : SAY.word));
      })
      .catch((error: unknown) => {
        if (!newest()) return;
        refused();
        said.append(make("p", "notice danger", messageOf(error)));
      });
  });
};

const picker = (within: ParentNode): HTMLInputElement | null => within.querySelector<HTMLInputElement>("[data-sealed]");
const told = (within: ParentNode): HTMLElement | null => within.querySelector<HTMLElement>("[data-sealed-said]");

/** The form fills in what the file registers. */
export const filling = (form: HTMLFormElement): void => {
  const [from, said, field] = [picker(form), told(form), form.querySelector<HTMLTextAreaElement>("textarea[name=registration]")];
  if (from && said && field) dropping(from, said, (found) => void (field.value = JSON.stringify(found)));
};

/** How a call stands to the file that was dropped last. */
export type Judged = "reading" | "same" | "other";

/** The call is held against the file that was dropped last; `judged` is told how it stands to this one. */
export const comparing = (box: HTMLElement, act: Registers, judged: (stands: Judged) => void): void => {
  const [from, said] = [picker(box), told(box)];
  const take = (found: Registration): void => {
    act.holds(found);
    judged("same");
  };
  if (from && said)
    dropping(
      from,
      said,
      take,
      () => judged("reading"),
      () => judged("other"),
    );
};
