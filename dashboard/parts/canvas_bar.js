// Bar above a frame: what its chips are coloured by, and how strongly; contrast, grid, zoom.

import { Levels } from "./levels.js";
import { button, element } from "./part.js";

const SHOWN = { classes: "classes", confidence: "confidence", novelty: "unknown score" };

export function buildBar(view) {
  const shown = element("select");
  shown.setAttribute("aria-label", "chips show");
  for (const [name, text] of Object.entries(SHOWN)) shown.append(new Option(text, name));
  shown.addEventListener("change", () => view.showLayer(shown.value));
  const strength = element("input");
  Object.assign(strength, { type: "range", min: 0, max: 1, step: 0.05, value: view.settings.opacity });
  strength.dataset.key = "opacity";
  strength.title = "how strongly chips are coloured";
  strength.setAttribute("aria-label", "strength of the colours of chips");
  strength.addEventListener("input", () => view.set("opacity", Number(strength.value)));
  const box = element("div", "control");
  box.append(shown, strength);

  view.levels = new Levels(view);
  const lines = element("label", "control");
  const check = element("input");
  check.type = "checkbox";
  check.dataset.key = "grid";
  check.addEventListener("change", () => {
    view.gridChosen = true;
    view.set("grid", check.checked);
  });
  lines.append(check, element("span", "", "grid"));
  view.bar.append(box, view.levels.opener, lines);
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
