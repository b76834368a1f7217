// Theme: light or dark as this browser was told last, otherwise as its system prefers; and the sizes
// of all texts, larger on large screens.

import { element, listen } from "./part.js";

const LARGE = "(min-width: 2400px)";
const TEXT = 13;
const LARGE_TEXT = 20;
const SIZES = `
  :root { --text: ${TEXT}px; --small: 12px; --large: 18px; }
  @media ${LARGE} { :root { font-size: 24px; --text: ${LARGE_TEXT}px; --small: 18px; --large: 28px; } }
`;
const KEPT = "pychip-stream theme";

// Texts in plots are parts of a size that Bokeh fixes at 13 px whatever the page says; it has no
// other place to change that (3.9), hence the pinned version and the test.
function followSizes() {
  const { prototype } = window.Bokeh.require("core/graphics").TextBox;
  const { get, set } = Object.getOwnPropertyDescriptor(prototype, "visuals");
  const large = matchMedia(LARGE);
  Object.defineProperty(prototype, "visuals", {
    get,
    set(visuals) {
      this.base_font_size = large.matches ? LARGE_TEXT : TEXT;
      set.call(this, visuals);
    },
  });
}

export function render({ model }) {
  const page = document.documentElement; // every component follows what is said there
  const preferred = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.head.append(element("style", "", SIZES));
  followSizes();
  page.dataset.theme = localStorage.getItem(KEPT) || preferred;
  listen(model, ({ theme }) => {
    if (theme === page.dataset.theme) return;
    page.dataset.theme = theme;
    localStorage.setItem(KEPT, theme);
  });
  return element("span");
}
