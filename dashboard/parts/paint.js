// Paint: what lies over a frame: labels, grid, chosen chips, scale bar.

import { table } from "./tint.js";

// What chips may be coloured by instead of their class; values are 0…1.
export const LAYERS = {
  confidence: { map: "viridis", ends: ["0 %", "100 % sure"], words: (v) => `${(100 * v).toFixed(0)} % sure` },
  novelty: { map: "inferno", ends: ["0", "2, unknown from 1"], words: (v) => `unknown score ${(2 * v).toFixed(2)}` },
};

function niceLength(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  for (const step of [5, 2, 1]) if (step * power <= most) return step * power;
  return power;
}

// Letters as large as the page's; their height in pixels.
function letters(view, pen) {
  const size = parseFloat(getComputedStyle(view.wrap).fontSize);
  pen.font = `${size}px sans-serif`;
  return size;
}

export function paintChips(view, pen, scale) {
  if (!view.grid) return;
  const [rows, columns] = view.grid;
  const [cw, ch] = view.chip;
  if (view.overlay) {
    pen.globalAlpha = view.settings.opacity;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(view.overlay, 0, 0, columns * cw, rows * ch);
    pen.globalAlpha = 1;
  }
  if (view.settings.grid) {
    const [H, W] = view.shape;
    pen.fillStyle = "rgba(0,0,0,0.55)"; // what no chip covers
    pen.fillRect(columns * cw, 0, W - columns * cw, H);
    pen.fillRect(0, rows * ch, columns * cw, H - rows * ch);
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
  paintPicks(view, pen, scale);
}

export function paintScale(view, pen, dots, w, h, scale) {
  if (!view.pixel || !(view.pixel[0] > 0)) return;
  const most = (0.3 * w * view.pixel[0]) / scale;
  const length = niceLength(most);
  const px = (length / view.pixel[0]) * scale;
  pen.setTransform(dots, 0, 0, dots, 0, 0);
  const size = letters(view, pen);
  const text = `${Number(length.toPrecision(3))} ${view.pixel[1]}`;
  const room = Math.max(px, pen.measureText(text).width);
  const x = Math.max(view.layout().left, 0) + 8; // on the frame, where it has room beside it
  pen.fillStyle = "rgba(0,0,0,0.6)";
  pen.fillRect(x, h - size - 23, room + 16, size + 15);
  pen.fillStyle = "#fff";
  pen.fillRect(x + 8, h - 15, px, 3);
  pen.fillText(text, x + 8, h - 20);
  view.wrap.dataset.scale = text;
}

// What the colours of a layer mean.
export function paintKey(view, pen, dots, w, { map, ends }) {
  const colours = table(map, 0, 1);
  const wide = 128;
  pen.setTransform(dots, 0, 0, dots, 0, 0);
  const size = letters(view, pen);
  const [low, high] = ends;
  const room = wide + pen.measureText(low + high).width + 24;
  const left = w - room - 8;
  pen.fillStyle = "rgba(0,0,0,0.6)";
  pen.fillRect(left, 8, room, size + 11);
  pen.fillStyle = "#fff";
  pen.fillText(low, left + 8, size + 12);
  const x = left + 12 + pen.measureText(low).width;
  pen.fillText(high, x + wide + 4, size + 12);
  for (let i = 0; i < wide; i++) {
    const k = 3 * Math.round((255 * i) / (wide - 1));
    pen.fillStyle = `rgb(${colours.subarray(k, k + 3).join()})`;
    pen.fillRect(x + i, 14, 1, size - 1);
  }
}

function paintPicks(view, pen, scale) {
  const [cw, ch] = view.chip;
  const colours = new Map((view.classes || []).map((c) => [c.name, c.color]));
  const inset = (row, column, by) =>
    [column * cw + by / scale, row * ch + by / scale, cw - (2 * by) / scale, ch - (2 * by) / scale];
  for (const [key, name] of view.picks) {
    const [row, column] = key.split(",").map(Number);
    pen.lineWidth = 5 / scale;
    pen.strokeStyle = "#fff";
    pen.strokeRect(...inset(row, column, 1.5));
    pen.lineWidth = 3 / scale;
    pen.strokeStyle = colours.get(name) || "#000";
    pen.strokeRect(...inset(row, column, 1.5));
  }
  for (const [row, column] of view.highlights) {
    pen.lineWidth = 5 / scale;
    pen.strokeStyle = "#000"; // or yellow would vanish on light frames and orange labels
    pen.strokeRect(...inset(row, column, 3));
    pen.setLineDash([5 / scale, 4 / scale]);
    pen.lineWidth = 2.5 / scale;
    pen.strokeStyle = "#f0e442";
    pen.strokeRect(...inset(row, column, 3));
    pen.setLineDash([]);
  }
  if (view.picker && view.cursor) {
    pen.lineWidth = 2 / scale;
    pen.strokeStyle = colours.get(view.staged) || "#fff";
    pen.strokeRect(...inset(...view.cursor, 0));
  }
}
