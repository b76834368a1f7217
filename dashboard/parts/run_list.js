// Run list: a card per run of the folder, newest first. What the page's address asks for is opened as
// if its card were clicked, once the page is built: before, a browser knows not what would be replaced.

import { button, element, listen, picture } from "./part.js";

function card(run, open) {
  const node = button("card", "", () => open(run.name));
  node.dataset.name = run.name;
  node.setAttribute("aria-label", `open run ${run.name}, ${run.state}, ${run.facts.join(", ")}`);
  const frame = element("div", "picture");
  frame.append(picture(run.preview) || element("span", "", "no picture"));
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
  node.append(frame, text);
  node.disabled = !run.opens;
  return node;
}

export function render({ model }) {
  const root = element("div", "runs");
  const note = element("p", "note", "looking for runs…");
  const cards = element("div", "cards");
  root.append(note, cards);
  const known = new Map();
  let asked = false;
  listen(model, (m) => {
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
    if (m.open && !asked && known.has(m.open)) {
      asked = true;
      const ask = () => (window.Bokeh.documents[0].is_idle ? open(m.open) : setTimeout(ask, 100));
      ask();
    }
  });
  return root;
}
