// SPDX-License-Identifier: Apache-2.0
// The wallets of this browser (EIP-6963). What a wallet says of itself, its name, its picture, its id, is its own word: the
// page shows it, and rests nothing on it, nor on the order in which wallets answer.
import { visible } from "../parts/text.ts";

export interface Provider {
  request(call: { method: string; params: readonly unknown[] }): Promise<unknown>;
  on?(event: string, heard: () => void): void;
  removeListener?(event: string, heard: () => void): void;
}

export interface Wallet {
  readonly uuid: string;
  /** Printable ASCII; all else is shown by its number. */
  readonly name: string;
  /** Its id, a domain backwards; empty for a wallet that does not say. */
  readonly rdns: string;
  readonly icon: string | null;
  readonly provider: Provider;
  /** Whether another wallet here says that it is the same. */
  readonly doubled: boolean;
}

declare global {
  interface Window {
    ethereum?: Provider;
  }
}

const MOST_WALLETS = 32;
const MOST_NAME = 64;
const MOST_ICON = 32 * 1024;
const announced = new Map<string, Wallet>();
let picked: string | null = null;
let held: readonly Wallet[] = [];

const isProvider = (value: unknown): value is Provider => typeof value === "object" && value !== null && "request" in value && typeof value.request === "function";

const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** A picture that stands in the page itself, and is small. */
const iconOf = (value: unknown): string | null => {
  const icon = text(value);
  return icon.length <= MOST_ICON && /^data:image\/(png|jpeg|gif|webp|svg\+xml)[;,]/.test(icon) ? icon : null;
};

const announce = (event: Event): void => {
  const detail: unknown = event instanceof CustomEvent ? event.detail : null;
  const { info, provider } = (detail ?? {}) as { readonly info?: Readonly<Record<string, unknown>>; readonly provider?: unknown };
  const [uuid, rdns] = [text(info?.uuid), text(info?.rdns)];
  if (!isProvider(provider) || !/^[0-9a-zA-Z-]{1,64}$/.test(uuid) || !/^[0-9a-zA-Z.-]{1,100}$/.test(rdns)) return;
  // Who comes later with the same number takes nobody's place.
  if (announced.has(uuid) || announced.size === MOST_WALLETS) return;
  const name = visible(text(info?.name).slice(0, MOST_NAME)) || "unnamed wallet";
  announced.set(uuid, { uuid, name, rdns, icon: iconOf(info?.icon), provider, doubled: false });
};

if (typeof window !== "undefined") {
  window.addEventListener("eip6963:announceProvider", announce);
  window.dispatchEvent(new Event("eip6963:requestProvider"));
}

/** All of them, by id and name; one that does not announce itself only where no other is. */
export const wallets = (): readonly Wallet[] => {
  const found = [...announced.values()];
  if (!found.length && isProvider(window.ethereum)) {
    return [{ uuid: "", name: "unnamed wallet", rdns: "", icon: null, provider: window.ethereum, doubled: false }];
  }
  const times = (rdns: string): number => found.filter((one) => one.rdns.toLowerCase() === rdns.toLowerCase()).length;
  const key = (one: Wallet): string => [one.rdns, one.name, one.uuid].join(" ");
  return found.map((one) => ({ ...one, doubled: times(one.rdns) > 1 })).sort((a, b) => (key(a) < key(b) ? -1 : 1));
};

/** Take one, by its number; not while another is held. */
export const choose = (uuid: string): void => {
  if (!held.length) picked = uuid;
};

/** The one that was taken; the only one need not be. */
export const taken = (): Wallet | null => {
  const [last] = held.slice(-1);
  if (last) return last;
  const found = wallets();
  return found.find((one) => one.uuid === picked) ?? (found.length === 1 ? (found[0] ?? null) : null);
};

/** The same. Throws where there is none, or several and none was taken. */
export const chosen = (): Wallet => {
  const found = taken();
  if (found) return found;
  if (wallets().length) throw new Error("Several wallets answered here: choose the one that holds the owner’s account.");
  throw new Error("No wallet found. Install a browser wallet that holds the owner’s account, and reload. On a phone, open this address in the browser inside your wallet’s app.");
};

/** Keep to the wallet that was checked until what comes back is called: whoever is chosen or announces itself meanwhile is asked
 * nothing. Throws where another is taken by now. */
export const hold = (checked: Provider): (() => void) => {
  const now = { ...chosen() };
  if (now.provider !== checked) throw new Error("Another wallet is chosen now than the one that was asked. Nothing was sent; look again.");
  held = [...held, now];
  return () => void (held = held.filter((one) => one !== now));
};

/** Tell of every change of account or chain of the wallet that was taken; what comes back ends that. */
export const onChange = (heard: () => void): (() => void) => {
  const provider = taken()?.provider;
  const events = ["accountsChanged", "chainChanged", "disconnect"];
  for (const event of events) provider?.on?.(event, heard);
  return () => events.forEach((event) => provider?.removeListener?.(event, heard));
};
