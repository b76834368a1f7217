// Class shelf: the classes of a draft with their chips; name, colour, merge, remove.

import { button, element, listen, picture } from "./part.js";

export function render({ model }) {
  const root = element("div", "shelf");
  const notes = element("div", "notes");
  notes.setAttribute("aria-live", "polite");
  const rows = element("div", "rows");
  const add = button("tool", "+ add a class", () => model.send_msg({ type: "add" }));
  const undo = button("tool", "undo (U)", () => model.send_msg({ type: "undo" }));
  const tools = element("div", "tools");
  tools.append(add, undo);
  root.append(rows, tools, notes);
  let held = null;

  function row(one, all, locked) {
    const box = element("div", "class");
    box.style.setProperty("--colour", one.color);
    const head = element("div", "head");
    const colour = element("input", "colour");
    colour.type = "color";
    colour.value = one.color;
    colour.disabled = locked;
    colour.setAttribute("aria-label", `colour of ${one.name}`);
    colour.addEventListener("change", () => model.send_msg({ type: "recolor", name: one.name, color: colour.value }));
    const name = element("input", "name");
    name.value = one.name;
    name.disabled = locked;
    name.maxLength = 80;
    name.setAttribute("aria-label", "name of the class");
    const rename = () => { if (name.value !== one.name) model.send_msg({ type: "rename", old: one.name, name: name.value }); };
    name.addEventListener("change", rename);
    const count = element("span", "count", one.count === 1 ? "1 chip" : `${one.count} chips`);
    const advice = element("span", "advice", one.advice);
    const merge = element("select", "merge");
    merge.disabled = locked;
    merge.setAttribute("aria-label", `merge ${one.name} into another class`);
    merge.append(new Option("merge into…", ""));
    for (const other of all) if (other.name !== one.name) merge.append(new Option(other.name, other.name));
    merge.addEventListener("change", () => { if (merge.value) model.send_msg({ type: "merge", source: one.name, target: merge.value }); });
    const remove = button("tool", "remove", () => model.send_msg({ type: "remove", name: one.name }));
    remove.disabled = locked || all.length < 2;
    remove.setAttribute("aria-label", `remove ${one.name}`);
    head.append(colour, name, count, advice, merge, remove);
    const chips = element("div", "chips");
    for (const chip of one.chips) {
      const drop = () => model.send_msg({ type: "drop", number: chip.number });
      const thumb = button(chip.odd ? "thumb odd" : "thumb", "", drop);
      thumb.title = `${chip.where}${chip.odd ? ": " + chip.odd : ""}; click to take it out`;
      thumb.setAttribute("aria-label", thumb.title);
      thumb.disabled = locked;
      thumb.append(picture(chip.jpeg) || element("span", "", "?"));
      chips.append(thumb);
    }
    box.append(head, chips);
    return box;
  }

  function show(m) {
    // A name that is being typed is not taken away from under the fingers.
    const typing = root.getRootNode().activeElement;
    if (typing && typing.classList.contains("name") && typing.value !== typing.defaultValue) {
      held = m;
      typing.addEventListener("blur", () => { if (held) { const last = held; held = null; show(last); } }, { once: true });
      return;
    }
    rows.replaceChildren(...m.classes.map((one) => row(one, m.classes, m.locked)));
    add.disabled = undo.disabled = m.locked;
    root.dataset.number = m.number;
  }

  function say(m) {
    notes.replaceChildren(...m.lines.map(([level, text]) => element("div", `line ${level}`, text)));
  }

  listen(model, (m) => (m.type === "shelf" ? show(m) : say(m)));
  return root;
}
