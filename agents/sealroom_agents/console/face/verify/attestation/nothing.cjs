// SPDX-License-Identifier: Apache-2.0
// Stands in for Node's crypto and for node-fetch, which the verifier of quotes names and the page never calls.
module.exports = {};
