// Legend of the curves: one button for each class, which hides and shows all that belongs to it.

import { button, element, listen } from "./part.js";

export function render({ model }) {
  const root = element("div", "names");

  function show(m) {
    root.replaceChildren(...m.names.map(([name, color, shown]) => {
      const item = button("item", "", () => model.send_msg({ type: "toggle", name }));
      const swatch = element("span", "swatch");
      swatch.style.background = color;
      if (!color) swatch.classList.add("dashes");
      item.append(swatch, element("span", "name", name));
      item.setAttribute("aria-pressed", String(shown));
      item.setAttribute("aria-label", `show ${name} in the curves`);
      return item;
    }));
  }

  listen(model, show);
  return root;
}
