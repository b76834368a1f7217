// Downloads: files that the server makes in the background come in pieces over the page's own
// connection, each asked for after the one before, and are saved once they are whole.

import { button, element, listen } from "./part.js";

export function render({ model }) {
  const root = element("div", "downloads");
  const buttons = element("div", "buttons");
  const line = element("div", "line");
  const bar = element("progress");
  bar.max = 1;
  bar.setAttribute("aria-label", "progress of the export");
  const text = element("span", "text");
  text.setAttribute("role", "status");
  const cancel = button("tool", "cancel", () => {
    pieces = [];
    model.send_msg({ type: "cancel" });
  });
  line.append(bar, text, cancel);
  root.append(buttons, line);
  let pieces = [];

  const acts = {
    kinds(m) {
      buttons.replaceChildren(...m.kinds.map(([key, label, title]) => {
        const node = button("tool", label, () => model.send_msg({ type: "start", kind: key }));
        node.dataset.kind = key;
        node.title = title;
        return node;
      }));
    },
    state(m) {
      text.textContent = m.text;
      root.dataset.state = m.state;
      bar.hidden = cancel.hidden = m.state !== "busy";
      for (const node of buttons.children) node.disabled = m.state === "busy";
      if (m.share === null) bar.removeAttribute("value");
      else bar.value = m.share;
      if (m.state !== "busy") pieces = [];
    },
    piece(m) {
      if (m.first) pieces = [];
      pieces.push(new Blob([m.content]));
      if (!m.last) {
        model.send_msg({ type: "more" });
        return;
      }
      const link = element("a");
      link.href = URL.createObjectURL(new Blob(pieces, { type: m.media }));
      link.download = m.name;
      pieces = [];
      root.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      model.send_msg({ type: "saved" });
    },
  };
  listen(model, (m) => acts[m.type]?.(m));
  return root;
}
