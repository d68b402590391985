// SPDX-License-Identifier: Apache-2.0
// What one node of the chain answers, by JSON-RPC. It is believed as much as the auditor believes it. An answer that is
// none is no verdict: `chain-unreachable`. This module is in the page that may ask a node, and not in the one from disk.
import { decodeFunctionResult, encodeFunctionData, hexToString } from "viem/utils";
import consortiumAbi from "../../../chain/abi/Consortium.json";
import ledgerAbi from "../../../chain/abi/Ledger.json";
import type { Hex } from "../base/bytes.ts";
import type { Json } from "../base/encoding.ts";
import { canonical, object, parseJson } from "../base/encoding.ts";
import type { Opening, Receipt } from "./messages.ts";
import { OWNER_ID } from "../base/names.ts";
import { Refusal, refuse } from "../base/refusal.ts";
import type { Logbook } from "./revocation.ts";
import { wordsOfRevocation } from "./revocation.ts";
import type { Anchoring, Chain, Said } from "./state.ts";

const LIMIT_MS = 20_000;
const LIMIT_BYTES = 1024 * 1024;
const QUANTITY = /^0x(?:0|[1-9a-f][0-9a-f]{0,15})$/;
const HASH = /^0x[0-9a-f]{64}$/;
const MAX_VERSIONS = 64n;

const ABIS = { consortium: consortiumAbi, ledger: ledgerAbi } as const;

const unreachable = (what: string): never => refuse("chain-unreachable", what);

/** The node answers, and does not do what it was asked, or with too much: a smaller question may help. */
class Declined extends Refusal {}

/** The address of a node, as an auditor writes it: https, or http on this machine, by the two names that a policy of
 * content can say. */
export const nodeAddress = (text: string): URL => {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return refuse("malformed", "the node's address is no URL");
  }
  const local = url.protocol === "http:" && ["localhost", "127.0.0.1"].includes(url.hostname);
  return url.protocol === "https:" || local ? url : refuse("malformed", "a node is asked by https, or by http on localhost or 127.0.0.1");
};

export class NodeChain implements Chain, Logbook {
  private asked = 0;

  constructor(private readonly node: URL) {}

  async chainId(): Promise<bigint> {
    return this.quantity(await this.ask("eth_chainId", []));
  }

  async blockHash(number: bigint): Promise<Hex> {
    const name = "0x" + number.toString(16);
    const block = await this.ask("eth_getBlockByNumber", [name, false]);
    // A node that is behind, or prunes, says nothing about the envelope.
    if (!(block instanceof Map)) return refuse("chain-stale", `the node has no block ${name}`);
    const hash = block.get("hash");
    return typeof hash === "string" && HASH.test(hash) ? hash : unreachable("the node gives a block without a hash");
  }

  async newestTime(): Promise<bigint> {
    const block = await this.ask("eth_getBlockByNumber", ["latest", false]);
    return this.quantity(block instanceof Map ? (block.get("timestamp") ?? null) : null);
  }

  async home(consortium: Hex): Promise<{ app: Hex; ledger: Hex }> {
    const [app, ledger] = [await this.read("consortium", consortium, "app", []), await this.read("consortium", consortium, "ledger", [])];
    return { app: String(app).toLowerCase(), ledger: String(ledger).toLowerCase() };
  }

  async owners(consortium: Hex): Promise<ReadonlyMap<Hex, string>> {
    const owners = (await this.read("consortium", consortium, "owners", [])) as readonly { account: string; id: `0x${string}` }[];
    const named = owners.map(({ account, id }) => [account.toLowerCase(), hexToString(id, { size: 32 })] as const);
    return new Map(named.filter(([, name]) => OWNER_ID.test(name)));
  }

  async registered(ledger: Hex, dataset: Hex, number: bigint, header: Hex): Promise<{ name: string; index: Hex | null }> {
    const held = (await this.read("ledger", ledger, "datasetOf", [dataset])) as { name: string; versions: number };
    const newest = BigInt(held.versions);
    for (let each = number || newest; each > 0n && newest - each < MAX_VERSIONS; each--) {
      const version = (await this.read("ledger", ledger, "versionOf", [dataset, Number(each)])) as { header: Hex; index: Hex };
      if (version.header === header) return { name: held.name, index: version.index };
      if (number) break;
    }
    return { name: held.name, index: null };
  }

  async verdict(ledger: Hex, receipt: Receipt, signature: Hex, opening: Opening, anchoring: Anchoring): Promise<Said> {
    const proof = { ...anchoring, signature };
    const said = (await this.read("ledger", ledger, "verify", [receipt, opening, proof])) as Record<string, unknown>;
    return {
      anchored: said.anchored === true,
      approvedBy: (said.approvedBy as string[]).map((each) => each.toLowerCase()),
      superseded: said.superseded === true,
      revokedAt: BigInt(said.revokedAt as bigint),
      revokedBy: String(said.revokedBy).toLowerCase(),
      stoppedSince: said.stoppedSince === true,
    };
  }

  async reasonOf(consortium: Hex, study: Hex): Promise<string> {
    try {
      return await wordsOfRevocation(this, consortium, study);
    } catch (error) {
      if (error instanceof Refusal) return ""; // a log is a hint, and what the state says is told
      throw error;
    }
  }

  async newest(consortium: Hex): Promise<{ block: bigint; events: number }> {
    const said = (await this.read("consortium", consortium, "chronicle", [])) as { lastBlock: bigint; events: number };
    return { block: said.lastBlock, events: said.events };
  }

  async logs(consortium: Hex, from: bigint, to: bigint): Promise<Json | null> {
    const wanted = object({ address: consortium, fromBlock: `0x${from.toString(16)}`, toBlock: `0x${to.toString(16)}` });
    try {
      return await this.ask("eth_getLogs", [wanted]);
    } catch (error) {
      if (error instanceof Declined) return null;
      throw error;
    }
  }

  quantity(value: Json): bigint {
    return typeof value === "string" && QUANTITY.test(value) ? BigInt(value) : unreachable("the node gives no number where one must be");
  }

  /** Calls a contract at the newest block. */
  private async read(contract: keyof typeof ABIS, address: Hex, functionName: string, args: readonly unknown[]): Promise<unknown> {
    const abi = ABIS[contract] as never;
    const data = encodeFunctionData({ abi, functionName, args } as never);
    const answer = await this.ask("eth_call", [object({ to: address, data }), "latest"]);
    if (typeof answer !== "string") return unreachable("the node answers a call without bytes");
    try {
      return decodeFunctionResult({ abi, functionName, data: answer } as never);
    } catch {
      return refuse("not-a-consortium", `${contract}.${functionName} answers something else than the ABI says`);
    }
  }

  private async ask(method: string, params: Json[]): Promise<Json> {
    const id = ++this.asked;
    let text: string;
    try {
      const body = canonical(object({ id, jsonrpc: "2.0", method, params }));
      const answer = await fetch(this.node, {
        method: "POST",
        body,
        headers: { "content-type": "application/json" },
        credentials: "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
        signal: AbortSignal.timeout(LIMIT_MS),
      });
      text = await this.bounded(answer);
    } catch (error) {
      if (error instanceof Refusal) throw error;
      return unreachable(`the node ${this.node.host} does not answer, or does not let this page ask it`);
    }
    let answer: Json;
    try {
      answer = parseJson(text);
    } catch (error) {
      if (error instanceof Refusal) return unreachable(`the node answers ${method} with what is no JSON`);
      throw error;
    }
    const result = answer instanceof Map && answer.get("id") === id ? answer.get("result") : undefined;
    if (result === undefined) throw new Declined("chain-unreachable", `the node answers ${method} with an error`);
    return result;
  }

  private async bounded(answer: Response): Promise<string> {
    const reader = answer.body?.getReader();
    const decoder = new TextDecoder();
    let [text, length] = ["", 0];
    for (;;) {
      const next = await reader?.read();
      if (!next || next.done) return text + decoder.decode();
      text += decoder.decode(next.value, { stream: true });
      length += next.value.length;
      if (length > LIMIT_BYTES) {
        await reader?.cancel();
        throw new Declined("chain-unreachable", "the node answers with more than any answer has");
      }
    }
  }
}
