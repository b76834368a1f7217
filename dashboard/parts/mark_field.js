// Field for the text of a mark. M opens it from anywhere on the page where nothing is typed, Enter
// keeps the mark, Escape drops it.

import { element, listen } from "./part.js";

const TYPED =
  "input:not([type=checkbox], [type=radio], [type=button]), textarea, select, [contenteditable], " +
  "[role=combobox], [role=listbox], [role=option]";

export function render({ model }) {
  const input = element("input", "mark");
  Object.assign(input, { type: "text", maxLength: 400, placeholder: "mark (M)" });
  input.title = "M: mark this moment, or that of the frame held · Enter: keep · Escape: drop";
  input.setAttribute("aria-label", "mark");
  input.setAttribute("aria-keyshortcuts", "M");

  input.addEventListener("focus", () => model.send_msg({ type: "opened" }));
  input.addEventListener("keydown", (event) => {
    const kept = event.key === "Enter" && !event.isComposing;
    if (!kept && event.key !== "Escape") return;
    if (kept && input.value.trim()) model.send_msg({ type: "mark", text: input.value });
    input.value = "";
    input.blur();
  });

  function open(event) {
    if (event.key.toLowerCase() !== "m" || event.repeat || event.defaultPrevented) return;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    // What has the focus may be in a tree of its own, and the field on a page that is not shown.
    if (event.composedPath()[0].closest?.(TYPED) || !input.getClientRects().length) return;
    event.preventDefault();
    input.focus();
  }
  window.addEventListener("keydown", open);
  model.on("remove", () => window.removeEventListener("keydown", open));
  listen(model, () => {});
  return input;
}
