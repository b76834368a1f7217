// Downloads: files that the server makes in the background come in pieces over the page's own
// connection, each asked for after the one before, and are saved once they are whole.

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

export function render({ model }) {
  const root = element("div", "downloads");
  const buttons = element("div", "buttons");
  const line = element("div", "line");
  const bar = element("progress");
  bar.max = 1;
  bar.setAttribute("aria-label", "progress of the export");
  const text = element("span", "text");
  text.setAttribute("role", "status");
  const cancel = element("button", "tool", "cancel");
  cancel.addEventListener("click", () => {
    pieces = [];
    model.send_msg({ type: "cancel" });
  });
  line.append(bar, text, cancel);
  root.append(buttons, line);
  let pieces = [];

  const acts = {
    kinds(m) {
      buttons.replaceChildren(...m.kinds.map(([key, label, title]) => {
        const button = element("button", "tool", label);
        button.dataset.kind = key;
        button.title = title;
        button.addEventListener("click", () => model.send_msg({ type: "start", kind: key }));
        return button;
      }));
    },
    state(m) {
      text.textContent = m.text;
      root.dataset.state = m.state;
      bar.hidden = cancel.hidden = m.state !== "busy";
      for (const button of buttons.children) button.disabled = m.state === "busy";
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
  model.on("msg:custom", (event) => {
    const m = event.data ?? event;
    acts[m.type]?.(m);
  });
  model.send_msg({ type: "ready" });
  return root;
}
