// What every part needs: nodes that hold text and never markup, and the way to Python and back.

export function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

export function button(className, text, act) {
  const node = element("button", className, text);
  node.addEventListener("click", act);
  return node;
}

// Lines of text, one node each. What has not changed is not touched: a screen reader tells nothing twice.
export function say(parent, lines) {
  lines.forEach(([className, level, text], i) => {
    const line = parent.children[i] || parent.appendChild(element("div"));
    if (line.className !== className) line.className = className;
    if (line.dataset.level !== level) line.dataset.level = level; // a class could be one of Panel's own
    if (line.textContent !== text) line.textContent = text;
  });
  while (parent.childElementCount > lines.length) parent.lastElementChild.remove();
}

// A picture of JPEG bytes; null where there are none. The browser forgets the bytes once it is drawn.
export function picture(jpeg) {
  if (!jpeg || !jpeg.byteLength) return null;
  const image = element("img");
  image.alt = "";
  image.src = URL.createObjectURL(new Blob([jpeg], { type: "image/jpeg" }));
  image.addEventListener("load", () => URL.revokeObjectURL(image.src));
  return image;
}

// Hears what Python sends from now on, and asks for everything.
export function listen(model, heard) {
  model.on("msg:custom", (event) => heard(event.data ?? event));
  model.send_msg({ type: "ready" });
}

// A fraction in percent, with its interval where that is known; bounds and value have the same
// digits, or rounding could put the value outside. `work/words.py` writes the same.
export function share(value, low, high) {
  const percent = (v) => (100 * v).toFixed(1);
  return `${percent(value)} %` + (low === undefined ? "" : ` (${percent(low)}–${percent(high)})`);
}
