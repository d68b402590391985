// SPDX-License-Identifier: Apache-2.0
// Buttons that copy the text beside them. Where the clipboard is closed to the page, the text is selected instead.

const SAID_MS = 2000;

const copy = async (button: HTMLButtonElement, text: HTMLElement, said: HTMLElement | null): Promise<void> => {
  let told = "Copied";
  try {
    await navigator.clipboard.writeText(text.textContent ?? "");
  } catch {
    window.getSelection()?.selectAllChildren(text);
    told = "Selected: copy it with the keyboard";
  }
  button.textContent = told;
  if (said) said.textContent = told;
  setTimeout(() => (button.textContent = "Copy"), SAID_MS);
};

/** Give every button `data-copy` its work. `said`: where what happened is told to screen readers. */
export const copying = (said: HTMLElement | null): void => {
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-copy]")) {
    const text = button.parentElement?.querySelector("pre");
    if (!text) continue;
    button.hidden = false;
    button.addEventListener("click", () => void copy(button, text, said));
  }
};
