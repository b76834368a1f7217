// Limits of alert rules in words, beside their lines over the curves. Who may change them moves
// them by arrow keys here, or by dragging the lines, and adds others.

import { element, listen } from "./part.js";

const STEPS = {
  ArrowUp: 0.01, ArrowRight: 0.01, ArrowDown: -0.01, ArrowLeft: -0.01, PageUp: 0.1, PageDown: -0.1,
};

export function render({ model }) {
  const root = element("div", "limits");
  const rows = element("div", "rows");
  const add = element("select", "add");
  const note = element("span", "said");
  note.setAttribute("role", "status");
  add.setAttribute("aria-label", "new limit");
  root.append(rows, add, note);

  add.addEventListener("change", () => {
    const [side, subject] = JSON.parse(add.value);
    add.value = "";
    model.send_msg({ type: "rule", side, subject });
  });

  function line(name, changes) {
    const item = element("div", "limit");
    item.dataset.name = name;
    item.append(element("span", "swatch"), element("span", "text"));
    if (!changes) return item;
    item.tabIndex = 0;
    item.title = "drag its line over the curves, or press ↑ ↓ Page Up Page Down";
    item.setAttribute("role", "slider");
    item.setAttribute("aria-label", `limit of ${name}`);
    item.setAttribute("aria-valuemin", "0");
    item.setAttribute("aria-valuemax", "100");
    item.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const value = Math.min(Math.max(Number(item.dataset.value) + step, 0), 1);
      item.dataset.value = value; // the next press may come before the answer
      model.send_msg({ type: "limit", name, value });
    });
    return item;
  }

  listen(model, (m) => {
    const names = m.rows.map(([name]) => name);
    const known = [...rows.children].map((item) => item.dataset.name);
    if (names.join("\n") !== known.join("\n")) {
      rows.replaceChildren(...names.map((name) => line(name, m.changes)));
    }
    m.rows.forEach(([, text, color, value], i) => {
      const item = rows.children[i];
      item.dataset.value = value;
      item.firstChild.style.background = color;
      item.lastChild.textContent = text;
      if (!m.changes) return;
      item.setAttribute("aria-valuenow", String(Math.round(1000 * value) / 10));
      item.setAttribute("aria-valuetext", text);
    });
    const offers = m.offers.map(([subject, side]) => {
      const option = element("option", "", `${subject} ${side} …`);
      option.value = JSON.stringify([side, subject]);
      return option;
    });
    const first = element("option", "", "+ limit");
    first.value = "";
    add.replaceChildren(first, ...offers);
    add.hidden = !m.changes || !offers.length;
    note.textContent = m.note;
  });
  return root;
}
