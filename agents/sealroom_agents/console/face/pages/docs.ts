// SPDX-License-Identifier: Apache-2.0
// The page of the interface: what the address names is shown, and paper has every fold, also in browsers that do not open
// folds by themselves.

const folds = (): NodeListOf<HTMLDetailsElement> => document.querySelectorAll<HTMLDetailsElement>("details.fold");

const reveal = (): void => {
  const target = document.getElementById(decodeURIComponent(window.location.hash.slice(1)));
  const fold = target?.closest("details");
  if (!target || !fold) return;
  fold.open = true;
  target.scrollIntoView();
};

let closed: HTMLDetailsElement[] = [];
window.addEventListener("beforeprint", () => {
  closed = [...folds()].filter((one) => !one.open);
  for (const one of closed) one.open = true;
});
window.addEventListener("afterprint", () => {
  for (const one of closed) one.open = false;
});

window.addEventListener("hashchange", reveal);
reveal();

export {};
