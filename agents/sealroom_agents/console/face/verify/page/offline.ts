// SPDX-License-Identifier: Apache-2.0
// The worker of the page from disk: it asks nobody.
import { serve } from "./worker.ts";

serve(null);
