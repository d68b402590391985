// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import test from "node:test";

import { printable, visible } from "../../agents/sealroom_agents/console/face/parts/text.ts";

test("what reorders text is shown by its number, and other scripts stay as they are", () => {
  assert.equal(printable("Größe ‮x​"), "Größe \\u{202e}x\\u{200b}");
  assert.equal(printable("⠀"), "\\u{2800}");
  assert.equal(visible("Größe"), "Gr\\u{f6}\\u{df}e");
});
