// SPDX-License-Identifier: Apache-2.0
// The page for researchers: what is on it can be copied.
import { copying } from "../parts/copy.ts";

copying(document.getElementById("copied"));
