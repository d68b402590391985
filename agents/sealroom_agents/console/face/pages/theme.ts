// SPDX-License-Identifier: Apache-2.0
// What readers set for all pages: light or dark, else what the system says; and whether hashes are shown whole. Runs before
// anything is drawn, so that no page flashes.
const KEY = "theme";
const THEMES = ["light", "dark"];

const kept = (): string | null => {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a browser that keeps nothing
  }
};

const keep = (theme: string): void => {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // The choice then lasts for this page.
  }
};

const root = document.documentElement;
const chosen = kept();
if (chosen !== null && THEMES.includes(chosen)) root.dataset.theme = chosen;

document.addEventListener("DOMContentLoaded", () => {
  const button = document.querySelector<HTMLButtonElement>("button[data-theme-toggle]");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const theme = isDark ? "light" : "dark";
    root.dataset.theme = theme;
    keep(theme);
  });
  const hashes = document.querySelector<HTMLButtonElement>("button[data-hashes]");
  if (!hashes) return;
  hashes.hidden = false;
  hashes.addEventListener("click", () => hashes.setAttribute("aria-pressed", String(root.classList.toggle("whole"))));
});

export {};
