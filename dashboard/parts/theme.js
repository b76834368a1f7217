// Theme: light or dark as this browser was told last, otherwise as its system prefers.

import { element, listen } from "./part.js";

const KEPT = "pychip-stream theme";

export function render({ model }) {
  const page = document.documentElement; // every component follows what is said there
  const preferred = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  page.dataset.theme = localStorage.getItem(KEPT) || preferred;
  listen(model, ({ theme }) => {
    if (theme === page.dataset.theme) return;
    page.dataset.theme = theme;
    localStorage.setItem(KEPT, theme);
  });
  return element("span");
}
