// Legend below a frame, a row per class: swatch that hides it, bar with its interval, value in words.

import { button, element, share } from "./part.js";

export class Legend {
  // `toggled` is called when a class was hidden or shown.
  constructor(toggled) {
    this.toggled = toggled;
    this.hidden = new Set();
    this.root = element("div", "legend");
  }

  fill(bars) {
    const names = bars.map((b) => b.name).join("\n");
    if (this.root.dataset.names !== names) {
      this.root.replaceChildren(...bars.map((bar) => this.row(bar)));
      this.root.dataset.names = names;
    }
    bars.forEach((bar, i) => this.show(this.root.children[i], bar));
  }

  show(row, bar) {
    const percent = (v) => `${(100 * Math.min(Math.max(v || 0, 0), 1)).toFixed(2)}%`;
    row.style.setProperty("--colour", bar.color);
    const measured = typeof bar.value === "number";
    row.querySelector(".fill").style.width = percent(bar.value);
    const range = row.querySelector(".range");
    range.style.visibility = measured ? "visible" : "hidden";
    range.style.left = percent(bar.low);
    range.style.width = percent(bar.high - bar.low);
    const known = typeof bar.truth === "number";
    const text = measured ? share(bar.value, bar.low, bar.high) : "–";
    row.querySelector(".number").textContent = text;
    row.title = !measured ? `${bar.name}: nothing measured` :
      `${bar.name}: ${text}, with its 95 % interval` + (known ? `; true ${share(bar.truth)}` : "");
    const truth = row.querySelector(".truth");
    truth.hidden = !known;
    if (known) truth.style.left = percent(bar.truth);
  }

  row(bar) {
    const row = element("div", "row");
    const toggle = button("toggle", "", () => {
      const hide = !this.hidden.has(bar.name);
      if (hide) this.hidden.add(bar.name);
      else this.hidden.delete(bar.name);
      toggle.setAttribute("aria-pressed", String(!hide));
      this.toggled();
    });
    toggle.append(element("span", "swatch"), element("span", "name", bar.name));
    toggle.setAttribute("aria-pressed", String(!this.hidden.has(bar.name)));
    toggle.setAttribute("aria-label", `show ${bar.name} on the frame`);
    const track = element("div", "track");
    track.append(element("div", "fill"), element("div", "range"), element("div", "truth"));
    row.append(toggle, track, element("div", "number"));
    return row;
  }
}
