// Class shelf: the classes of a draft with their chips; name, colour, merge, remove; and chips of other
// frames that are worth choosing next.

import { button, element, listen, picture, say } from "./part.js";

export function render({ model }) {
  const root = element("div", "shelf");
  const notes = element("div", "notes");
  notes.setAttribute("aria-live", "polite");
  const rows = element("div", "rows");
  const add = button("tool", "+ add a class", () => model.send_msg({ type: "add" }));
  const undo = button("tool", "undo (U)", () => model.send_msg({ type: "undo" }));
  const tools = element("div", "tools");
  tools.append(add, undo);
  const hints = element("div", "hints");
  hints.setAttribute("role", "group");
  hints.setAttribute("aria-label", "chips of other frames to label next");
  root.append(rows, tools, notes, hints);
  let held = null;
  let images = new Map(); // of the chips that are shown

  function thumbnail(chip) {
    const image = chip.jpeg === null ? images.get(chip.id) : picture(chip.jpeg);
    if (image) return image;
    return element("span", "", chip.jpeg === null ? "…" : "?");
  }

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
    name.value = name.defaultValue = one.name;
    name.disabled = locked;
    name.maxLength = 80;
    name.setAttribute("aria-label", "name of the class");
    name.addEventListener("change", () => {
      if (name.value !== one.name) model.send_msg({ type: "rename", old: one.name, name: name.value });
    });
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
      thumb.dataset.id = chip.id;
      thumb.append(thumbnail(chip));
      chips.append(thumb);
    }
    box.append(head, chips);
    return box;
  }

  const names = () => [...rows.querySelectorAll(".name")];

  function show(m) {
    const typing = names().indexOf(root.getRootNode().activeElement);
    const before = names()[typing];
    if (before) {
      // A name that is being typed is not taken away from under the fingers.
      const { value, defaultValue } = before;
      if (value !== defaultValue && value !== m.classes[typing]?.name) {
        held = m;
        return;
      }
    }
    held = null;
    rows.replaceChildren(...m.classes.map((one) => row(one, m.classes, m.locked)));
    images = new Map([...rows.querySelectorAll(".thumb img")].map((img) => [img.parentElement.dataset.id, img]));
    add.disabled = undo.disabled = m.locked;
    root.dataset.number = m.number;
    const wanted = m.focus ? names().find((name) => name.value === m.focus) : names()[typing];
    wanted?.focus();
    if (m.focus) wanted?.select();
    else if (before) wanted?.setSelectionRange(before.selectionStart, before.selectionEnd);
  }

  // After the event: what is shown then removes the field that the focus has just left.
  rows.addEventListener("focusout", () => setTimeout(() => { if (held) show(held); }));

  const heard = {
    shelf: show,
    notes: (m) => say(notes, m.lines.map(([level, text]) => ["line", level, text])),
    hints: (m) => hints.replaceChildren(...m.lines.map((line) => button("hint", line, () => model.send_msg({ type: "look", line })))),
  };
  listen(model, (m) => heard[m.type](m));
  return root;
}
