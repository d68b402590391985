// SPDX-License-Identifier: Apache-2.0
// Numbers of the chain as people read them.

/** A whole number of parts as an exact decimal: 1500000 with 6 places is 1.5. */
export const decimal = (value: string | number | bigint, places: number): string => {
  const digits = BigInt(value).toString().padStart(places + 1, "0");
  return (digits.slice(0, -places) + "." + digits.slice(-places)).replace(/\.?0+$/, "");
};

export const epsilonText = (micro: string | number | bigint): string => decimal(micro, 6);

/** Parts of 10^12 in the one text of a number: 1e-6 for magnitudes below 0.0001. */
export const deltaText = (pico: string | number | bigint): string => {
  if (BigInt(pico) === 0n || BigInt(pico) >= 10n ** 8n) return decimal(pico, 12);
  const digits = String(pico);
  const rest = digits.slice(1).replace(/0+$/, "");
  return digits.slice(0, 1) + (rest && "." + rest) + "e" + (digits.length - 13);
};

/** A whole number with thousands apart. */
export const countText = (number: string | number): string => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/** Unix seconds as a date, UTC. */
export const dayText = (seconds: string | number): string => {
  const date = new Date(Number(seconds) * 1000);
  return date.getUTCDate() + " " + MONTHS[date.getUTCMonth()] + " " + date.getUTCFullYear();
};

/** Unix seconds to the minute, UTC. */
export const minuteText = (seconds: string | number): string => new Date(Number(seconds) * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
