// Levels: in which contrast a viewer sees frames: limits in counts over their histogram, gamma and
// colour map. Limits are tinted here at once, and then made anew from the counts by Python.

import { button, element } from "./part.js";
import { MAPS } from "./tint.js";

const MODES = { auto: "auto", analysed: "as analysed", full: "minimum to maximum", hand: "by hand" };
const REST_MS = 250;

export class Levels {
  constructor(view) {
    this.view = view;
    this.grey = null;
    this.opener = button("tool", "contrast ▾", () => this.open(this.panel.hidden));
    this.panel = element("div", "levels");
    this.panel.setAttribute("role", "group");
    this.panel.setAttribute("aria-label", "contrast of the frame");
    this.mode = this.choice("contrast", Object.entries(MODES), (mode) => this.choose(mode));
    this.graph = element("div", "histogram");
    this.graph.setAttribute("role", "img");
    this.graph.setAttribute("aria-label", "histogram of the frame's counts");
    this.panel.append(this.graph);
    this.low = this.slider("dark", "low", 0, 1000, () => this.drag());
    this.high = this.slider("bright", "high", 0, 1000, () => this.drag());
    this.gamma = this.slider("gamma", "gamma", -1, 1, () => {
      this.view.settings.gamma = 10 ** (0.6 * Number(this.gamma.value));
      this.say();
      this.view.tint();
      this.view.draw();
    });
    Object.assign(this.gamma, { step: 0.05, value: 0 });
    this.map = this.choice("colour map", Object.keys(MAPS).map((name) => [name, name]), (map) => view.set("map", map));
    this.text = this.panel.appendChild(element("div", "told"));
    this.open(false);
  }

  open(yes) {
    this.panel.hidden = !yes;
    this.opener.setAttribute("aria-expanded", String(yes));
  }

  choice(label, options, act) {
    const select = element("select");
    for (const [name, text] of options) select.append(new Option(text, name));
    select.addEventListener("change", () => act(select.value));
    return this.labelled(label, select);
  }

  slider(label, key, min, max, act) {
    const input = element("input");
    Object.assign(input, { type: "range", min, max });
    input.dataset.key = key;
    input.addEventListener("input", act);
    return this.labelled(label, input);
  }

  labelled(label, control) {
    const box = element("label", "control");
    control.setAttribute("aria-label", label); // its options are no part of the name
    box.append(element("span", "", label), control);
    this.panel.append(box);
    return control;
  }

  choose(mode) {
    if (mode === "hand") this.drag();
    else this.view.model.send_msg({ type: "contrast", mode });
  }

  // A frame has come: `grey` is what its grey levels are.
  show(grey) {
    if (this.timer) return; // what is being dragged wins
    this.grey = grey;
    this.opener.hidden = !grey;
    if (!grey) return this.open(false);
    [this.low.value, this.high.value] = [grey.low, grey.high].map((counts) => this.place(counts));
    this.view.settings.limits = null;
    this.say();
  }

  place(counts) {
    const { least, most } = this.grey;
    return (1000 * (counts - least)) / (most - least);
  }

  drag() {
    if (!this.grey) return;
    const { least, most } = this.grey;
    const [low, high] = [this.low, this.high].map((node) => least + ((most - least) * Number(node.value)) / 1000);
    const limits = [Math.min(low, high), Math.max(low, high, Math.min(low, high) + (most - least) / 1000)];
    this.mode.value = "hand";
    this.view.settings.limits = limits;
    this.say();
    this.view.tint();
    this.view.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.view.model.send_msg({ type: "contrast", mode: "hand", low: limits[0], high: limits[1] });
    }, REST_MS);
  }

  // Limits in grey levels (0…1) of the picture.
  limits() {
    const { limits } = this.view.settings;
    const { low, high } = this.grey || {};
    return limits && high > low ? limits.map((counts) => (counts - low) / (high - low)) : [0, 1];
  }

  say() {
    const { low, high } = this.grey;
    const [from, to] = this.view.settings.limits || [low, high];
    const number = (v) => Number(v.toPrecision(4));
    this.text.textContent = Number.isFinite(from)
      ? `${number(from)} to ${number(to)} counts, gamma ${this.view.settings.gamma.toFixed(2)}` : "equalised";
    const { least, most, histogram } = this.grey;
    this.graph.replaceChildren(...histogram.map((share, i) => {
      const counts = least + ((i + 0.5) / histogram.length) * (most - least);
      const bar = element("div", counts >= from && counts <= to ? "within" : "");
      bar.style.height = `${100 * Math.sqrt(share)}%`; // small ones are seen beside the largest
      return bar;
    }));
  }
}
