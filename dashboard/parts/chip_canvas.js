// Canvas of one frame with its chips: picture, coloured labels, picking. Python sends whole values
// and sends them again on "ready".

import { button, element, listen } from "./part.js";

const MAPS = {
  grey: [[0, 0, 0], [255, 255, 255]],
  viridis: [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]],
  inferno: [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]],
  cividis: [[0, 34, 78], [63, 76, 107], [124, 123, 120], [186, 173, 108], [254, 232, 56]],
};
const ZOOM_MOST = 40;

function colour(hex) {
  const n = parseInt(hex.slice(1), 16);
  return [(n >> 16) & 255, (n >> 8) & 255, n & 255];
}

// 256 colours of a map between two limits (0…1) of the picture's grey values.
function table(name, low, high) {
  const stops = MAPS[name] || MAPS.grey;
  const out = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) {
    const x = Math.min(Math.max((i / 255 - low) / Math.max(high - low, 1e-3), 0), 1);
    const at = x * (stops.length - 1);
    const k = Math.min(Math.floor(at), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      out[3 * i + c] = stops[k][c] + (stops[k + 1][c] - stops[k][c]) * (at - k);
    }
  }
  return out;
}

function niceLength(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  for (const step of [5, 2, 1]) if (step * power <= most) return step * power;
  return power;
}

class ChipCanvas {
  constructor(model) {
    this.model = model;
    this.shape = [1, 1];
    this.grid = null;
    this.chip = [1, 1];
    this.labels = null;
    this.palette = [];
    this.hidden = new Set();
    this.view = { zoom: 1, x: 0.5, y: 0.5 };
    this.settings = { opacity: 0.45, low: 0, high: 1, map: "grey", grid: false };
    this.picture = null;
    this.crop = null;
    this.queue = Promise.resolve();
    this.picker = null;
    this.highlights = [];
    this.picks = new Map(); // "row,column" → class name, of this frame
    this.cursor = null;
    this.build();
  }

  build() {
    this.wrap = element("div", "chipwrap");
    this.bar = element("div", "bar");
    this.stage = element("div", "stage");
    this.canvas = element("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "frame with its chips; no frame yet");
    this.note = element("div", "note", "no frame yet");
    this.caption = element("div", "caption");
    this.legend = element("div", "legend");
    this.stage.append(this.canvas, this.note);
    this.wrap.append(this.bar, this.stage, this.caption, this.legend);
    this.buildBar();
    this.listen();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.stage);
  }

  buildBar() {
    const slider = (label, key, min, max, step) => {
      const box = element("label", "control");
      const input = element("input");
      Object.assign(input, { type: "range", min, max, step, value: this.settings[key] });
      input.addEventListener("input", () => this.set(key, Number(input.value)));
      input.dataset.key = key;
      box.append(element("span", "", label), input);
      this.bar.append(box);
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
    select.addEventListener("change", () => this.set("map", select.value));
    box.append(select);
    const lines = element("label", "control");
    const check = element("input");
    check.type = "checkbox";
    check.dataset.key = "grid";
    check.addEventListener("change", () => this.set("grid", check.checked));
    lines.append(check, element("span", "", "grid"));
    this.bar.append(box, lines);
    for (const [text, title, act] of [
      ["−", "zoom out", () => this.zoomBy(1 / 1.5)],
      ["+", "zoom in", () => this.zoomBy(1.5)],
      ["fit", "show the whole frame", () => this.setView(1, 0.5, 0.5)],
    ]) {
      const node = button("tool", text, act);
      node.title = title;
      node.setAttribute("aria-label", title);
      this.bar.append(node);
    }
  }

  set(key, value) {
    this.settings[key] = value;
    if (key === "low" || key === "high" || key === "map") this.tint();
    this.draw();
  }

  // -- what Python sends

  receive(message) {
    const kind = message.type;
    // Pictures are decoded in order, so that labels never stand on the picture before.
    this.queue = this.queue.then(() => this[`on_${kind}`]?.(message)).catch((e) => console.error(e));
  }

  async on_frame(m) {
    const bitmap = m.jpeg && m.jpeg.byteLength ? await this.decode(m.jpeg) : null;
    this.shape = m.shape;
    this.chip = m.chip;
    this.grid = m.grid;
    this.palette = m.palette || this.palette;
    this.labels = m.labels ? new Uint8Array(m.labels) : null;
    this.picture = bitmap;
    this.crop = null;
    this.pixel = m.pixel_size ? [m.pixel_size, m.unit || ""] : null;
    this.note.textContent = m.note || (bitmap ? "" : "the file of this frame cannot be read any more");
    this.canvas.setAttribute("aria-label", m.alt || "frame with its chips");
    this.caption.textContent = m.caption || "";
    this.tint();
    this.paintLabels();
    this.fillLegend(m.bars || []);
    this.draw();
    this.wrap.dataset.seq = m.seq;
    this.wrap.dataset.grid = this.grid.join("x");
    this.model.send_msg({ type: "painted", seq: m.seq });
    this.askCrop();
  }

  async on_crop(m) {
    if (m.seq !== Number(this.wrap.dataset.seq)) return;
    this.crop = { source: this.tinted(await this.decode(m.jpeg)), rect: m.rect };
    this.wrap.dataset.crop = m.rect.map((v) => Math.round(v)).join(",");
    this.draw();
  }

  on_labels(m) {
    this.labels = m.labels ? new Uint8Array(m.labels) : null;
    this.palette = m.palette || this.palette;
    if (m.grid) this.grid = m.grid;
    if (m.chip) this.chip = m.chip;
    this.paintLabels();
    if (m.bars) this.fillLegend(m.bars);
    this.draw();
    this.wrap.dataset.labels = m.seq || 0;
  }

  // Switches picking on: classes, chosen chips of this frame. What was clicked meanwhile wins.
  on_picks(m) {
    this.classes = m.classes;
    if (!this.picker && !m.locked) this.picker = new Picker(this);
    if (m.locked) this.picker = null;
    this.fillClasses();
    if (this.picker && m.echo < this.picker.clicks) return;
    this.picks = new Map(m.picks.map(([row, column, name]) => [`${row},${column}`, name]));
    this.wrap.dataset.picked = this.picks.size;
    this.wrap.dataset.echo = m.echo;
    this.draw();
  }

  // Chips worth a look: [row, column, kind, why].
  on_highlights(m) {
    this.highlights = m.chips;
    this.wrap.dataset.highlights = m.chips.length;
    this.draw();
  }

  on_grid(m) {
    this.grid = m.grid;
    this.chip = m.chip;
    this.labels = null;
    this.overlay = null;
    this.settings.grid = true;
    this.bar.querySelector('[data-key="grid"]').checked = true;
    this.wrap.dataset.grid = this.grid.join("x");
    this.draw();
  }

  fillClasses() {
    if (!this.pills) {
      this.pills = element("div", "pills");
      this.pills.setAttribute("role", "radiogroup");
      this.pills.setAttribute("aria-label", "class to choose examples of");
      this.wrap.insertBefore(this.pills, this.bar);
    }
    if (!this.classes.some((c) => c.name === this.staged)) this.staged = this.classes[0]?.name;
    this.pills.replaceChildren(...this.classes.map((c, i) => {
      const pill = button("pill", "", () => this.stageClass(c.name));
      pill.style.setProperty("--colour", c.color);
      pill.setAttribute("role", "radio");
      pill.setAttribute("aria-checked", String(c.name === this.staged));
      pill.append(element("span", "swatch"), element("span", "name", c.name));
      if (i < 9) pill.append(element("kbd", "", String(i + 1)));
      return pill;
    }));
  }

  stageClass(name) {
    this.staged = name;
    this.fillClasses();
    this.wrap.dataset.staged = name;
    this.draw();
  }

  paintPicks(pen, scale) {
    const [cw, ch] = this.chip;
    const colours = new Map((this.classes || []).map((c) => [c.name, c.color]));
    const inset = (row, column, by) =>
      [column * cw + by / scale, row * ch + by / scale, cw - (2 * by) / scale, ch - (2 * by) / scale];
    for (const [key, name] of this.picks) {
      const [row, column] = key.split(",").map(Number);
      pen.lineWidth = 5 / scale;
      pen.strokeStyle = "#fff";
      pen.strokeRect(...inset(row, column, 1.5));
      pen.lineWidth = 3 / scale;
      pen.strokeStyle = colours.get(name) || "#000";
      pen.strokeRect(...inset(row, column, 1.5));
    }
    pen.setLineDash([5 / scale, 4 / scale]);
    for (const [row, column] of this.highlights) {
      pen.lineWidth = 2.5 / scale;
      pen.strokeStyle = "#f0e442";
      pen.strokeRect(...inset(row, column, 3));
    }
    pen.setLineDash([]);
    if (this.picker && this.cursor) {
      pen.lineWidth = 2 / scale;
      pen.strokeStyle = colours.get(this.staged) || "#fff";
      pen.strokeRect(...inset(...this.cursor, 0));
    }
  }

  async decode(bytes) {
    return createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  }

  tinted(bitmap) {
    const s = this.settings;
    const source = element("canvas");
    source.width = bitmap.width;
    source.height = bitmap.height;
    const pen = source.getContext("2d", { willReadFrequently: true });
    pen.drawImage(bitmap, 0, 0);
    if (s.map === "grey" && s.low <= 0 && s.high >= 1) return source;
    const data = pen.getImageData(0, 0, source.width, source.height);
    const lut = table(s.map, s.low, s.high);
    for (let i = 0; i < data.data.length; i += 4) {
      const k = 3 * data.data[i];
      data.data[i] = lut[k];
      data.data[i + 1] = lut[k + 1];
      data.data[i + 2] = lut[k + 2];
    }
    pen.putImageData(data, 0, 0);
    return source;
  }

  tint() {
    this.base = this.picture ? this.tinted(this.picture) : null;
    if (this.crop) {
      this.crop = null;
      this.askCrop();
    }
  }

  paintLabels() {
    this.overlay = null;
    if (!this.labels || !this.grid) return;
    const [rows, columns] = this.grid;
    const overlay = element("canvas");
    overlay.width = columns;
    overlay.height = rows;
    const pen = overlay.getContext("2d");
    const data = pen.createImageData(columns, rows);
    const colours = this.palette.map((c) => colour(c.color));
    for (let i = 0; i < rows * columns; i++) {
      const k = this.labels[i];
      const c = colours[k];
      if (!c || this.hidden.has(this.palette[k].name)) continue;
      data.data.set([c[0], c[1], c[2], 255], 4 * i);
    }
    pen.putImageData(data, 0, 0);
    this.overlay = overlay;
  }

  // A row per class: swatch and show/hide, bar with its interval, value in words.
  fillLegend(bars) {
    if (this.legend.childElementCount !== bars.length || this.legend.dataset.names !== bars.map((b) => b.name).join("\n")) {
      this.legend.replaceChildren(...bars.map((bar) => this.legendRow(bar)));
      this.legend.dataset.names = bars.map((b) => b.name).join("\n");
    }
    bars.forEach((bar, i) => {
      const row = this.legend.children[i];
      const percent = (v) => `${(100 * Math.min(Math.max(v || 0, 0), 1)).toFixed(2)}%`;
      row.style.setProperty("--colour", bar.color);
      const measured = typeof bar.value === "number";
      row.querySelector(".fill").style.width = percent(bar.value);
      const range = row.querySelector(".range");
      range.style.visibility = measured ? "visible" : "hidden";
      range.style.left = percent(bar.low);
      range.style.width = percent(bar.high - bar.low);
      // One precision for all three: rounded, a value stays within its interval.
      const share = (v) => (100 * v).toFixed(1);
      row.querySelector(".number").textContent = measured
        ? `${share(bar.value)} %  (${share(bar.low)}–${share(bar.high)})` : "–";
      row.title = !measured ? `${bar.name}: nothing measured` :
        `${bar.name}: estimated ${share(bar.value)} %, 95 % interval ` +
        `${share(bar.low)}–${share(bar.high)} %` +
        (bar.truth === null || bar.truth === undefined ? "" : `, true ${share(bar.truth)} %`);
      const truth = row.querySelector(".truth");
      truth.hidden = bar.truth === null || bar.truth === undefined;
      if (!truth.hidden) truth.style.left = percent(bar.truth);
    });
  }

  legendRow(bar) {
    const row = element("div", "row");
    const toggle = button("toggle", "", () => {
      const hide = !this.hidden.has(bar.name);
      if (hide) this.hidden.add(bar.name);
      else this.hidden.delete(bar.name);
      toggle.setAttribute("aria-pressed", String(!hide));
      this.paintLabels();
      this.draw();
    });
    toggle.append(element("span", "swatch"), element("span", "name", bar.name));
    toggle.setAttribute("aria-pressed", String(!this.hidden.has(bar.name)));
    toggle.setAttribute("aria-label", `show ${bar.name} on the frame`);
    const track = element("div", "track");
    track.append(element("div", "fill"), element("div", "range"), element("div", "truth"));
    row.append(toggle, track, element("div", "number"));
    return row;
  }

  // -- geometry: frame pixels ↔ canvas pixels

  layout() {
    const w = this.stage.clientWidth;
    const h = this.stage.clientHeight;
    const [H, W] = this.shape;
    const scale = Math.min(w / W, h / H) * this.view.zoom;
    return { w, h, scale, left: w / 2 - this.view.x * W * scale, top: h / 2 - this.view.y * H * scale };
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const { scale, left, top } = this.layout();
    return [(event.clientX - box.left - left) / scale, (event.clientY - box.top - top) / scale];
  }

  chipAt(event) {
    if (!this.grid) return null;
    const [x, y] = this.at(event);
    const row = Math.floor(y / this.chip[1]);
    const column = Math.floor(x / this.chip[0]);
    const inside = row >= 0 && column >= 0 && row < this.grid[0] && column < this.grid[1];
    return inside ? [row, column] : null;
  }

  setView(zoom, x, y) {
    zoom = Math.min(Math.max(zoom, 1), ZOOM_MOST);
    const half = 0.5 / zoom;
    const keep = (v) => Math.min(Math.max(v, half), 1 - half);
    this.view = { zoom, x: keep(x), y: keep(y) };
    this.crop = null;
    this.wrap.dataset.zoom = zoom.toFixed(2);
    this.draw();
    clearTimeout(this.cropTimer);
    this.cropTimer = setTimeout(() => this.askCrop(), 150);
  }

  zoomBy(factor, x = this.view.x, y = this.view.y) {
    const { zoom } = this.view;
    const next = Math.min(Math.max(zoom * factor, 1), ZOOM_MOST);
    const f = zoom / next;
    this.setView(next, x + (this.view.x - x) * f, y + (this.view.y - y) * f);
  }

  // Where the picture is coarser than the screen, the visible part is wanted as it was recorded.
  askCrop() {
    if (!this.picture || this.view.zoom <= 1) return;
    const { w, h, scale, left, top } = this.layout();
    const [H, W] = this.shape;
    const dots = (window.devicePixelRatio || 1) * scale;
    if (this.picture.width >= W || dots * W <= this.picture.width) return;
    const x0 = Math.max(Math.floor(-left / scale), 0);
    const y0 = Math.max(Math.floor(-top / scale), 0);
    const x1 = Math.min(Math.ceil((w - left) / scale), W);
    const y1 = Math.min(Math.ceil((h - top) / scale), H);
    if (x1 > x0 && y1 > y0) {
      this.model.send_msg({ type: "crop", seq: Number(this.wrap.dataset.seq), rect: [x0, y0, x1, y1] });
    }
  }

  // -- drawing

  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.paint();
    });
  }

  paint() {
    const dots = window.devicePixelRatio || 1;
    const { w, h, scale, left, top } = this.layout();
    if (!w || !h) return;
    const width = Math.round(w * dots);
    const height = Math.round(h * dots);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.setTransform(dots * scale, 0, 0, dots * scale, dots * left, dots * top);
    const [H, W] = this.shape;
    pen.imageSmoothingEnabled = !(this.base && scale * W > 3 * this.base.width);
    if (this.base) pen.drawImage(this.base, 0, 0, W, H);
    if (this.crop) {
      const [x0, y0, x1, y1] = this.crop.rect;
      pen.imageSmoothingEnabled = false;
      pen.drawImage(this.crop.source, x0, y0, x1 - x0, y1 - y0);
    }
    this.paintChips(pen, scale);
    this.paintScale(pen, dots, w, h, scale);
  }

  paintChips(pen, scale) {
    if (!this.grid) return;
    const [rows, columns] = this.grid;
    const [cw, ch] = this.chip;
    if (this.overlay) {
      pen.globalAlpha = this.settings.opacity;
      pen.imageSmoothingEnabled = false;
      pen.drawImage(this.overlay, 0, 0, columns * cw, rows * ch);
      pen.globalAlpha = 1;
    }
    if (this.settings.grid) {
      pen.beginPath();
      for (let r = 0; r <= rows; r++) {
        pen.moveTo(0, r * ch);
        pen.lineTo(columns * cw, r * ch);
      }
      for (let c = 0; c <= columns; c++) {
        pen.moveTo(c * cw, 0);
        pen.lineTo(c * cw, rows * ch);
      }
      pen.lineWidth = 1 / scale;
      pen.strokeStyle = "rgba(255,255,255,0.5)";
      pen.stroke();
    }
    this.paintPicks(pen, scale);
  }

  paintScale(pen, dots, w, h, scale) {
    if (!this.pixel || !(this.pixel[0] > 0)) return;
    const most = (0.3 * w * this.pixel[0]) / scale;
    const length = niceLength(most);
    const px = (length / this.pixel[0]) * scale;
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.font = "13px sans-serif";
    const text = `${Number(length.toPrecision(3))} ${this.pixel[1]}`;
    const room = Math.max(px, pen.measureText(text).width);
    pen.fillStyle = "rgba(0,0,0,0.6)";
    pen.fillRect(8, h - 36, room + 16, 28);
    pen.fillStyle = "#fff";
    pen.fillRect(16, h - 15, px, 3);
    pen.fillText(text, 16, h - 20);
    this.wrap.dataset.scale = text;
  }

  // -- hands

  listen() {
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [x, y] = this.at(event);
      this.zoomBy(Math.exp(-event.deltaY * 0.0015), x / this.shape[1], y / this.shape[0]);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("dblclick", () => { if (!this.picker) this.setView(1, 0.5, 0.5); });
  }

  press(event) {
    if (this.picker && event.button === 0 && !event.shiftKey) {
      this.picker.press(event);
      return;
    }
    const start = [event.clientX, event.clientY, this.view.x, this.view.y];
    const { scale } = this.layout();
    const move = (e) => this.setView(
      this.view.zoom,
      start[2] - (e.clientX - start[0]) / scale / this.shape[1],
      start[3] - (e.clientY - start[1]) / scale / this.shape[0],
    );
    const up = () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", up);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up);
  }

  key(event) {
    if (this.picker?.key(event)) {
      event.preventDefault();
      return;
    }
    const step = 0.1 / this.view.zoom;
    const { zoom, x, y } = this.view;
    const acts = {
      "+": () => this.zoomBy(1.5), "=": () => this.zoomBy(1.5), "-": () => this.zoomBy(1 / 1.5),
      0: () => this.setView(1, 0.5, 0.5),
      ArrowLeft: () => this.setView(zoom, x - step, y), ArrowRight: () => this.setView(zoom, x + step, y),
      ArrowUp: () => this.setView(zoom, x, y - step), ArrowDown: () => this.setView(zoom, x, y + step),
    };
    if (acts[event.key]) {
      acts[event.key]();
      event.preventDefault();
    }
  }
}

// Choosing examples: click or drag with a class; the class goes with each click to Python, which
// owns the choice. Clicks are shown at once and counted, so that an older answer cannot undo them.
class Picker {
  constructor(view) {
    this.view = view;
    this.clicks = 0;
    view.canvas.style.cursor = "crosshair";
    view.canvas.addEventListener("pointermove", (event) => {
      view.cursor = view.chipAt(event);
      const why = view.cursor && view.highlights.find((h) => h[0] === view.cursor[0] && h[1] === view.cursor[1]);
      view.canvas.title = why ? why[3] : "";
      view.draw();
    });
    view.canvas.addEventListener("pointerleave", () => {
      view.cursor = null;
      view.draw();
    });
  }

  press(event) {
    const first = this.view.chipAt(event);
    if (!first) return;
    this.view.canvas.focus();
    const add = this.view.picks.get(first.join(",")) !== this.view.staged;
    const touched = new Map();
    const touch = (chip) => {
      if (!chip || touched.has(chip.join(","))) return;
      touched.set(chip.join(","), chip);
      if (add) this.view.picks.set(chip.join(","), this.view.staged);
      else this.view.picks.delete(chip.join(","));
      this.view.wrap.dataset.picked = this.view.picks.size;
      this.view.draw();
    };
    const move = (e) => touch(this.view.chipAt(e));
    const up = () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", up);
      this.send(add, [...touched.values()]);
    };
    touch(first);
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up);
  }

  send(add, chips) {
    this.clicks += 1;
    this.view.model.send_msg({
      type: "pick", label: this.view.staged, add, chips, click: this.clicks, chip: this.view.chip,
      seq: Number(this.view.wrap.dataset.seq),
    });
  }

  key(event) {
    const { view } = this;
    if (event.ctrlKey || event.altKey || event.metaKey) return false;
    const [rows, columns] = view.grid || [0, 0];
    const digit = Number(event.key);
    if (digit >= 1 && digit <= 9) {
      const chosen = (view.classes || [])[digit - 1];
      if (chosen) view.stageClass(chosen.name);
      return true;
    }
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (step && rows) {
      const from = view.cursor || [Math.floor(rows / 2), Math.floor(columns / 2)];
      view.cursor = [
        Math.min(Math.max(from[0] + step[0], 0), rows - 1),
        Math.min(Math.max(from[1] + step[1], 0), columns - 1),
      ];
      view.draw();
      return true;
    }
    if ((event.key === " " || event.key === "Enter") && view.cursor) {
      const key = view.cursor.join(",");
      const add = view.picks.get(key) !== view.staged;
      if (add) view.picks.set(key, view.staged);
      else view.picks.delete(key);
      view.wrap.dataset.picked = view.picks.size;
      view.draw();
      this.send(add, [view.cursor]);
      return true;
    }
    if (event.key === "u" || event.key === "U") {
      this.clicks += 1;
      view.model.send_msg({ type: "undo", click: this.clicks });
      return true;
    }
    return false;
  }
}

export function render({ model }) {
  const view = new ChipCanvas(model);
  model.on("remove", () => {
    view.observer.disconnect();
    clearTimeout(view.cropTimer);
  });
  listen(model, (m) => view.receive(m));
  return view.wrap;
}
