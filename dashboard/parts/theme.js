// Theme: light or dark as this browser was told last, otherwise as its system prefers; and the sizes
// of all texts, larger on large screens.

import { element, listen } from "./part.js";

const SIZES = `
  :root { --text: 13px; --small: 12px; --large: 18px; }
  @media (min-width: 2400px) { :root { font-size: 24px; --text: 20px; --small: 18px; --large: 28px; } }
`;
const KEPT = "pychip-stream theme";

export function render({ model }) {
  const page = document.documentElement; // every component follows what is said there
  const preferred = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.head.append(element("style", "", SIZES));
  page.dataset.theme = localStorage.getItem(KEPT) || preferred;
  listen(model, ({ theme }) => {
    if (theme === page.dataset.theme) return;
    page.dataset.theme = theme;
    localStorage.setItem(KEPT, theme);
  });
  return element("span");
}
