// Canvas of one frame with its chips: picture, coloured labels, picking. Python sends whole values
// and sends them again on "ready".

import { buildBar } from "./canvas_bar.js";
import { Legend } from "./chip_legend.js";
import { HANDS, Picker } from "./chip_picker.js";
import { Gestures } from "./gestures.js";
import { LAYERS, paintChips, paintKey, paintScale } from "./paint.js";
import { button, element, listen } from "./part.js";
import { colour, drawn, table, tinted } from "./tint.js";

const ZOOM_MOST = 40;
const TAIL = 28; // letters of a caption that are never cut

class ChipCanvas {
  constructor(model) {
    this.model = model;
    this.shape = [1, 1];
    this.grid = null;
    this.chip = [1, 1];
    this.labels = null;
    this.palette = [];
    this.view = { zoom: 1, x: 0.5, y: 0.5 };
    this.settings = { opacity: 0.45, limits: null, gamma: 1, map: "grey", grid: false, layer: "classes" };
    this.layers = {};
    this.moving = false;
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
    this.canvas.setAttribute("role", "application"); // it takes keys
    this.canvas.setAttribute("aria-label", "frame with its chips; no frame yet");
    this.note = element("div", "note", "no frame yet");
    this.warning = element("div", "misfit");
    this.readout = element("div", "readout");
    this.readout.setAttribute("role", "status");
    this.hands = element("div", "hands");
    this.caption = element("div", "caption");
    this.legend = new Legend(() => {
      this.paintLabels();
      this.draw();
    });
    buildBar(this);
    this.stage.append(this.canvas, this.note, this.warning, this.readout, this.levels.panel);
    this.wrap.append(this.bar, this.stage, this.hands, this.caption, this.legend.root);
    this.gestures = new Gestures(this);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.stage);
  }

  set(key, value) {
    this.settings[key] = value;
    if (key !== "opacity" && key !== "grid") this.tint();
    this.draw();
  }

  // Chips are coloured by their class, or by how sure that is, or by how unlike the examples they are.
  showLayer(name) {
    this.settings.layer = name;
    this.wrap.dataset.layer = name;
    this.paintLabels();
    this.draw();
  }

  takeLayers(layers) {
    this.layers = Object.fromEntries(Object.entries(layers || {}).map(([name, v]) => [name, new Uint8Array(v)]));
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
    this.takeLayers(m.layers);
    this.levels.show(bitmap && m.grey);
    this.warning.textContent = m.warning || "";
    this.highlights = [];
    this.wrap.dataset.highlights = 0;
    this.pixel = m.pixel_size ? [m.pixel_size, m.unit || ""] : null;
    this.note.textContent = m.note || (bitmap ? "" : "the file of this frame cannot be read any more");
    this.canvas.setAttribute("aria-label", m.alt || "frame with its chips");
    const text = m.caption || "";
    this.caption.replaceChildren(element("span", "", text.slice(0, -TAIL)), element("span", "", text.slice(-TAIL)));
    this.caption.title = text;
    this.tint();
    this.paintLabels();
    this.legend.fill(m.bars || []);
    this.point(this.cursor); // what is read there has changed
    this.wrap.dataset.seq = m.seq;
    this.wrap.dataset.grid = this.grid.join("x");
    this.model.send_msg({ type: "painted", seq: m.seq });
    this.askCrop();
  }

  // The same frame in another contrast.
  async on_picture(m) {
    if (m.seq !== Number(this.wrap.dataset.seq) || !m.jpeg?.byteLength) return;
    this.picture = await this.decode(m.jpeg);
    this.crop = null;
    this.levels.show(m.grey);
    this.tint();
    this.draw();
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
    this.takeLayers(m.layers);
    this.palette = m.palette || this.palette;
    if (m.grid) this.grid = m.grid;
    if (m.chip) this.chip = m.chip;
    this.paintLabels();
    if (m.bars) this.legend.fill(m.bars);
    this.point(this.cursor); // what is read there has changed
    this.wrap.dataset.labels = m.seq || 0;
  }

  // Switches picking on: classes, chosen chips of this frame, the class to go on with. What was
  // clicked meanwhile wins.
  on_picks(m) {
    this.classes = m.classes;
    if (!this.picker && !m.locked) this.picker = new Picker(this);
    if (m.locked) this.picker = null;
    const there = (name) => this.classes.some((c) => c.name === name);
    for (let hops = 0; !there(this.staged) && m.renamed?.[this.staged] && hops < 99; hops++) {
      this.staged = m.renamed[this.staged];
    }
    if (m.stage) this.staged = m.stage;
    this.wrap.dataset.picking = this.picker ? "yes" : "no";
    this.mover.hidden = !this.picker;
    this.hands.textContent = this.picker ? HANDS : "";
    this.fillClasses();
    if (this.picker && m.echo < this.picker.clicks) return;
    this.showPicks(new Map(m.picks.map(([row, column, name]) => [`${row},${column}`, name])));
    this.wrap.dataset.echo = m.echo;
  }

  showPicks(picks) {
    this.picks = picks;
    this.wrap.dataset.picked = picks.size;
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
    this.layers = {};
    this.overlay = null;
    if (!this.gridChosen) this.settings.grid = this.bar.querySelector('[data-key="grid"]').checked = true;
    this.wrap.dataset.grid = this.grid.join("x");
    this.draw();
  }

  fillClasses() {
    if (!this.pills) {
      this.pills = element("div", "pills");
      this.pills.setAttribute("role", "radiogroup");
      this.pills.setAttribute("aria-label", "class to choose examples of");
      this.pills.addEventListener("keydown", (event) => this.walkPills(event));
      this.wrap.insertBefore(this.pills, this.bar);
    }
    let at = this.classes.findIndex((c) => c.name === this.staged);
    if (at < 0) at = Math.min(Math.max(this.stagedAt || 0, 0), this.classes.length - 1);
    this.staged = this.classes[at]?.name;
    this.stagedAt = at;
    const focused = this.pills.contains(this.pills.getRootNode().activeElement);
    this.pills.replaceChildren(...this.classes.map((c, i) => {
      const pill = button("pill", "", () => this.stageClass(c.name));
      const chosen = c.name === this.staged;
      pill.style.setProperty("--colour", c.color);
      pill.setAttribute("role", "radio");
      pill.setAttribute("aria-checked", String(chosen));
      pill.tabIndex = chosen ? 0 : -1;
      pill.append(element("span", "swatch"), element("span", "name", c.name));
      if (i < 9) pill.append(element("kbd", "", String(i + 1)));
      return pill;
    }));
    if (focused) this.pills.querySelector('[aria-checked="true"]')?.focus();
    this.wrap.dataset.staged = this.staged;
  }

  walkPills(event) {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = this.classes.findIndex((c) => c.name === this.staged);
    this.stageClass(this.classes.at((at + step) % this.classes.length).name);
  }

  stageClass(name) {
    this.staged = name;
    this.fillClasses();
    this.draw();
  }

  async decode(bytes) {
    return createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  }

  tinted(bitmap) {
    const { map, gamma } = this.settings;
    return tinted(bitmap, map, ...this.levels.limits(), gamma);
  }

  tint() {
    this.base = this.picture ? this.tinted(this.picture) : null;
    this.pen = this.picture && drawn(this.picture);
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
    const levels = this.layers[this.settings.layer];
    const scale = levels && table(LAYERS[this.settings.layer].map, 0, 1);
    for (let i = 0; i < rows * columns; i++) {
      const k = this.labels[i];
      const c = levels ? scale.subarray(3 * levels[i], 3 * levels[i] + 3) : colours[k];
      if (!c || !this.palette[k] || this.legend.hidden.has(this.palette[k].name)) continue;
      data.data.set([c[0], c[1], c[2], 255], 4 * i);
    }
    pen.putImageData(data, 0, 0);
    this.overlay = overlay;
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

  // Whether that is at the right or lower edge of the frame, where no whole chip fits.
  bareAt(event) {
    const [x, y] = this.at(event);
    const [H, W] = this.shape;
    return this.settings.grid && x >= 0 && y >= 0 && x < W && y < H && !this.chipAt(event);
  }

  setView(zoom, x, y) {
    zoom = Math.min(Math.max(zoom, 1), ZOOM_MOST);
    const half = 0.5 / zoom;
    const keep = (v) => Math.min(Math.max(v, half), 1 - half);
    this.view = { zoom, x: keep(x), y: keep(y) };
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

  // Says what is at a chip: its place, label and choice, and why it is worth a look.
  point(chip, bare = false) {
    this.cursor = chip;
    const parts = bare ? ["no whole chip fits here: left out"] : [];
    if (chip) {
      const [row, column] = chip;
      const { h, scale, top } = this.layout();
      this.readout.dataset.above = (row + 0.5) * this.chip[1] * scale + top > h / 2; // beside the chip, not over it
      this.readout.style.setProperty("--above", `${this.warning.offsetHeight + 8}px`);
      parts.push(`row ${row}, column ${column}`);
      if (this.pixel && this.pixel[0] > 0) {
        const [x, y] = [column * this.chip[0], row * this.chip[1]].map((v) => Number((v * this.pixel[0]).toPrecision(4)));
        parts.push(`at ${x}, ${y} ${this.pixel[1]}`);
      }
      const at = row * this.grid[1] + column;
      const label = this.labels && this.palette[this.labels[at]];
      if (label) parts.push(label.name);
      for (const [name, { words }] of Object.entries(LAYERS)) {
        if (label && this.layers[name]) parts.push(words(this.layers[name][at] / 255));
      }
      const counts = this.countsAt(row, column);
      if (counts !== null) parts.push(`≈ ${Number(counts.toPrecision(3))} counts`);
      const picked = this.picks.get(chip.join(","));
      if (picked) parts.push(`example of ${picked}`);
      const why = this.highlights.find((h) => h[0] === row && h[1] === column);
      if (why) parts.push(why[3]);
    }
    this.readout.textContent = parts.join(" · ");
    this.draw();
  }

  // Mean counts of a chip, as fine as the picture's grey levels tell; null where they do not.
  countsAt(row, column) {
    const { low, high } = this.levels.grey || {};
    if (!this.pen || !(high > low)) return null;
    const scale = this.picture.width / this.shape[1];
    const [x, y, w, h] = [column * this.chip[0], row * this.chip[1], ...this.chip].map((v) => Math.floor(v * scale));
    const { data } = this.pen.getImageData(x, y, Math.max(w, 1), Math.max(h, 1));
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) sum += data[i];
    return low + ((high - low) * sum * 4) / data.length / 255;
  }

  // Brings the chip that the keys point at into sight.
  follow() {
    const { zoom, x, y } = this.view;
    const { w, h, scale } = this.layout();
    const [H, W] = this.shape;
    const keep = (middle, at, length, room, whole) => {
      const half = Math.max(room / scale / 2 - length, 0);
      const want = (at + 0.5) * length;
      return Math.min(Math.max(middle * whole, want - half), want + half) / whole;
    };
    const [row, column] = this.cursor;
    this.setView(zoom, keep(x, column, this.chip[0], w, W), keep(y, row, this.chip[1], h, H));
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
    paintChips(this, pen, scale);
    paintScale(this, pen, dots, w, h, scale);
    const layer = LAYERS[this.settings.layer];
    if (layer && this.layers[this.settings.layer]) paintKey(this, pen, dots, w, layer);
  }
}

export function render({ model }) {
  const view = new ChipCanvas(model);
  model.on("remove", () => {
    view.observer.disconnect();
    view.gestures.close();
    clearTimeout(view.cropTimer);
  });
  listen(model, (m) => view.receive(m));
  return view.wrap;
}
