// Tables and logs as plain text: whatever a file says about itself is shown, never run.

import { element, listen } from "./part.js";

// A cell is a text, or {text, state, symbol, color}: a state has its colour, its symbol and a word.
function cell(tag, content, right) {
  const node = element(tag, right ? "right" : "");
  if (content === null || typeof content !== "object") {
    node.textContent = content ?? "";
    return node;
  }
  if (content.color) {
    const swatch = element("span", "swatch");
    swatch.style.setProperty("--colour", content.color);
    node.append(swatch);
  }
  if (content.state) {
    const badge = element("span", "state", `${content.symbol || ""} ${content.text}`.trim());
    badge.dataset.state = content.state;
    node.append(badge);
  } else node.append(element("span", content.mono ? "mono" : "", content.text));
  return node;
}

function table(part) {
  const box = element("section", "part");
  box.append(element("h2", "", part.title));
  if (part.note) box.append(element("p", "note", part.note));
  if (!part.rows.length) {
    box.append(element("p", "nothing", part.empty || "nothing"));
    return box;
  }
  const right = new Set(part.right || []);
  const scroll = element("div", "scroll");
  const body = element("table", "");
  body.setAttribute("aria-label", part.title);
  if (part.head) {
    const row = element("tr");
    part.head.forEach((h, i) => {
      const node = cell("th", h, right.has(i));
      node.scope = "col";
      row.append(node);
    });
    const head = element("thead");
    head.append(row);
    body.append(head);
  }
  const rows = element("tbody");
  for (const values of part.rows) {
    const row = element("tr");
    values.forEach((v, i) => row.append(cell(!part.head && i === 0 ? "th" : "td", v, right.has(i))));
    rows.append(row);
  }
  body.append(rows);
  scroll.append(body);
  box.append(scroll);
  return box;
}

// A log keeps its place while one reads in it, and follows the end otherwise.
function log(part, old) {
  const box = old || element("section", "part log");
  if (!old) {
    const text = element("pre", "");
    text.tabIndex = 0;
    text.setAttribute("aria-label", part.title);
    box.append(element("h2", "", part.title), element("p", "note", ""), text);
  }
  const text = box.querySelector("pre");
  box.querySelector(".note").textContent = part.note || "";
  const content = part.lines.join("\n") || part.empty || "";
  if (text.textContent !== content) {
    const end = text.scrollTop + text.clientHeight >= text.scrollHeight - 4;
    text.textContent = content;
    if (end || !old) requestAnimationFrame(() => { text.scrollTop = text.scrollHeight; });
  }
  return box;
}

export function render({ model }) {
  const root = element("div", "tables");
  const known = new Map();
  listen(model, (m) => {
    const parts = m.tables.map((part) => {
      const content = JSON.stringify(part);
      const before = known.get(part.title);
      if (before && before.content === content) return before.node;
      const isLog = part.lines !== undefined;
      const node = isLog ? log(part, before && before.node) : table(part);
      if (part.wide) node.classList.add("wide");
      known.set(part.title, { content, node });
      return node;
    });
    if (parts.length !== root.childElementCount || parts.some((node, i) => root.children[i] !== node)) {
      const tops = [...root.querySelectorAll("pre")].map((pre) => [pre, pre.scrollTop]);
      root.replaceChildren(...parts);
      for (const [pre, top] of tops) pre.scrollTop = top;
    }
    root.dataset.count = (Number(root.dataset.count) || 0) + 1;
  });
  return root;
}
