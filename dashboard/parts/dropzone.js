// Drop zone: takes one file from the viewer's machine and sends it in pieces, each after the one
// before has arrived.

import { element, listen } from "./part.js";

const PIECE = 2 << 20;

export function render({ model }) {
  const root = element("div", "zone");
  const input = element("input");
  input.type = "file";
  input.setAttribute("aria-label", "image file");
  const label = element("label", "label");
  const words = element("span", "", "Drop an image here, or a support set to begin with, or choose one: ");
  label.append(words, input);
  const line = element("div", "line");
  const bar = element("progress");
  bar.max = 1;
  bar.hidden = true;
  const text = element("span", "text");
  text.setAttribute("role", "status");
  line.append(bar, text);
  const kinds = element("div", "kinds");
  root.append(label, line, kinds);
  let file = null;
  let at = 0;

  function begin(files) {
    if (!files || !files.length) {
      model.send_msg({ type: "nothing" });
      return;
    }
    file = files[0];
    at = 0;
    text.textContent = "";
    root.dataset.level = "";
    model.send_msg({ type: "begin", name: file.name, size: file.size, files: files.length });
  }
  async function more() {
    if (!file) return;
    const data = await file.slice(at, at + PIECE).arrayBuffer();
    at += data.byteLength;
    bar.hidden = false;
    bar.value = file.size ? at / file.size : 1;
    model.send_msg({ type: "piece", data, last: at >= file.size });
  }

  input.addEventListener("change", () => begin(input.files));
  root.addEventListener("dragover", (event) => {
    event.preventDefault();
    root.classList.add("over");
  });
  root.addEventListener("dragleave", () => root.classList.remove("over"));
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    root.classList.remove("over");
    begin(event.dataTransfer.files);
  });
  listen(model, (m) => {
    if (m.type === "more") more();
    if (m.type === "accept") {
      input.accept = m.suffixes.join(",");
      kinds.textContent = m.words;
      if (m.title) words.textContent = m.title;
      if (m.name) input.setAttribute("aria-label", m.name);
    }
    if (m.type === "say") {
      text.textContent = m.text;
      root.dataset.level = m.level;
      bar.hidden = true;
      if (m.level) file = null;
      if (m.level === "error") input.value = "";
    }
  });
  return root;
}
