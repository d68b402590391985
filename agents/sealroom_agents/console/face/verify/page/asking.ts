// SPDX-License-Identifier: Apache-2.0
// The worker of the page that may ask a node.
import { NodeChain, nodeAddress } from "../chain.ts";
import { serve } from "./worker.ts";

serve((address) => new NodeChain(nodeAddress(address)));
