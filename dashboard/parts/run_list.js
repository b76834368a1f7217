// Run list: a card per run of the folder, newest first.

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function card(run, open) {
  const node = element("button", "card");
  node.dataset.name = run.name;
  node.setAttribute("aria-label", `open run ${run.name}, ${run.state}, ${run.facts.join(", ")}`);
  const picture = element("div", "picture");
  if (run.preview && run.preview.byteLength) {
    const image = element("img");
    image.alt = "";
    image.src = URL.createObjectURL(new Blob([run.preview], { type: "image/jpeg" }));
    image.addEventListener("load", () => URL.revokeObjectURL(image.src));
    picture.append(image);
  } else picture.append(element("span", "", "no picture"));
  const text = element("div", "text");
  const title = element("div", "title");
  title.append(element("span", "name", run.name), element("span", `state ${run.state}`, run.state));
  text.append(title, ...run.facts.map((fact) => element("div", "fact", fact)));
  const classes = element("div", "classes");
  for (const [name, colour] of run.classes) {
    const one = element("span", "class");
    const swatch = element("span", "swatch");
    swatch.style.setProperty("--colour", colour);
    one.append(swatch, element("span", "", name));
    classes.append(one);
  }
  text.append(classes);
  if (run.trouble) text.append(element("div", "trouble", run.trouble));
  node.append(picture, text);
  node.disabled = !run.opens;
  node.addEventListener("click", () => open(run.name));
  return node;
}

export function render({ model }) {
  const root = element("div", "runs");
  const note = element("p", "note", "looking for runs…");
  const cards = element("div", "cards");
  root.append(note, cards);
  const known = new Map();
  model.on("msg:custom", (event) => {
    const m = event.data ?? event;
    note.textContent = m.note;
    const open = (name) => model.send_msg({ type: "open", name });
    const nodes = m.runs.map((run) => {
      const old = known.get(run.name);
      if (old && old.stamp === run.stamp) return old.node;
      const node = card(run, open);
      known.set(run.name, { stamp: run.stamp, node });
      return node;
    });
    cards.replaceChildren(...nodes);
    root.dataset.count = nodes.length;
  });
  model.send_msg({ type: "ready" });
  return root;
}
