// SPDX-License-Identifier: Apache-2.0
// Filters, sorts and searches the board's table at once. The server drew all rows and does the same by query parameters.
const form = document.querySelector<HTMLFormElement>("form[data-filters]");
const body = document.querySelector<HTMLTableSectionElement>(".cohorts tbody");

const start = (form: HTMLFormElement, body: HTMLTableSectionElement): void => {
  const rows = [...body.rows];
  const criteria = [...form.querySelectorAll<HTMLInputElement>("input[name=with]")];
  const status = form.querySelector<HTMLSelectElement>("select[name=status]");
  const search = form.querySelector<HTMLInputElement>("input[name=q]");
  const sort = form.querySelector<HTMLInputElement>("input[name=sort]");
  const count = document.querySelector("[data-count]");
  const nothing = document.querySelector<HTMLElement>("[data-nothing]");
  const heads = [...document.querySelectorAll<HTMLAnchorElement>("a[data-sort]")];

  const matches = (row: HTMLTableRowElement): boolean => {
    const grades = (row.dataset.grades ?? "").split(" ");
    const graded = criteria.every((one, index) => !one.checked || grades[index] === "match");
    return graded && (!status?.value || row.dataset.status === status.value) && (row.dataset.text ?? "").includes((search?.value ?? "").trim().toLowerCase());
  };

  const show = (): void => {
    const shown = rows.filter(matches);
    const set = new Set(shown);
    for (const row of rows) row.hidden = !set.has(row);
    if (count) count.textContent = shown.length + " of " + rows.length + " shown";
    if (nothing) nothing.hidden = shown.length > 0;
    const asked = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (typeof value === "string" && value && !(name === "sort" && value === "newest")) asked.append(name, value);
    const text = asked.toString();
    history.replaceState(null, "", text ? "/?" + text : "/");
  };

  const order = (key: string): void => {
    const number = (row: HTMLTableRowElement): number => Number(row.dataset[key] ?? 0);
    const sorted = [...rows].sort((one, other) => (key === "name" ? (one.dataset.name ?? "").localeCompare(other.dataset.name ?? "") : number(other) - number(one)));
    body.append(...sorted);
    if (sort) sort.value = key;
    for (const head of heads) {
      if (head.dataset.sort === key) head.parentElement?.setAttribute("aria-sort", key === "name" ? "ascending" : "descending");
      else head.parentElement?.removeAttribute("aria-sort");
    }
    show();
  };

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  for (const head of heads) {
    head.addEventListener("click", (event) => {
      event.preventDefault();
      order(head.dataset.sort ?? "name");
    });
  }
  // What was typed before this script came counts, too.
  const drawn = [...(status?.options ?? [])].find((one) => one.defaultSelected)?.value ?? "";
  if (criteria.some((one) => one.checked !== one.defaultChecked) || search?.value !== search?.defaultValue || (status?.value ?? "") !== drawn) show();
};

if (form && body) start(form, body);

export {};
