// Bar above a frame: how strongly labels tint it, contrast, colour map, grid, zoom.

import { button, element } from "./part.js";
import { MAPS } from "./tint.js";

export function buildBar(view) {
  const slider = (label, key, min, max, step) => {
    const box = element("label", "control");
    const input = element("input");
    Object.assign(input, { type: "range", min, max, step, value: view.settings[key] });
    input.addEventListener("input", () => view.set(key, Number(input.value)));
    input.dataset.key = key;
    box.append(element("span", "", label), input);
    view.bar.append(box);
    return input;
  };
  slider("labels", "opacity", 0, 1, 0.05);
  slider("dark", "low", 0, 0.95, 0.01);
  slider("bright", "high", 0.05, 1, 0.01);
  const box = element("label", "control");
  const select = element("select");
  select.dataset.key = "map";
  select.setAttribute("aria-label", "colour map");
  for (const name of Object.keys(MAPS)) select.append(new Option(name, name));
  select.addEventListener("change", () => view.set("map", select.value));
  box.append(select);
  const lines = element("label", "control");
  const check = element("input");
  check.type = "checkbox";
  check.dataset.key = "grid";
  check.addEventListener("change", () => {
    view.gridChosen = true;
    view.set("grid", check.checked);
  });
  lines.append(check, element("span", "", "grid"));
  view.contrast = element("select");
  view.contrast.setAttribute("aria-label", "contrast");
  view.contrast.append(new Option("contrast: auto", ""), new Option("as analysed", "1"));
  view.contrast.addEventListener("change", () => view.set("analysed", Boolean(view.contrast.value)));
  const contrast = element("label", "control");
  contrast.append(view.contrast);
  view.bar.append(box, contrast, lines);
  for (const [text, title, act] of [
    ["−", "zoom out", () => view.zoomBy(1 / 1.5)],
    ["+", "zoom in", () => view.zoomBy(1.5)],
    ["fit", "show the whole frame", () => view.setView(1, 0.5, 0.5)],
  ]) {
    const node = button("tool", text, act);
    node.title = title;
    node.setAttribute("aria-label", title);
    view.bar.append(node);
  }
  view.mover = button("tool", "move", () => {
    view.moving = !view.moving;
    view.mover.setAttribute("aria-pressed", String(view.moving));
    view.canvas.style.cursor = view.moving ? "grab" : "crosshair";
  });
  view.mover.title = "dragging moves the frame and chooses nothing";
  view.mover.setAttribute("aria-pressed", "false");
  view.mover.hidden = true;
  view.bar.append(view.mover);
}
