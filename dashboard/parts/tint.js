// Tint: colour maps, from the grey levels of a picture to what the screen shows.

export const MAPS = {
  grey: [[0, 0, 0], [255, 255, 255]],
  viridis: [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]],
  inferno: [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]],
  cividis: [[0, 34, 78], [63, 76, 107], [124, 123, 120], [186, 173, 108], [254, 232, 56]],
};

export function colour(hex) {
  const n = parseInt(hex.slice(1), 16);
  return [(n >> 16) & 255, (n >> 8) & 255, n & 255];
}

// 256 colours of a map between two limits (0…1) of the picture's grey values; a gamma below 1 shows
// more of what is dark.
export function table(name, low, high, gamma = 1) {
  const stops = MAPS[name] || MAPS.grey;
  const out = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) {
    const x = Math.min(Math.max((i / 255 - low) / Math.max(high - low, 1e-3), 0), 1) ** gamma;
    const at = x * (stops.length - 1);
    const k = Math.min(Math.floor(at), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      out[3 * i + c] = stops[k][c] + (stops[k + 1][c] - stops[k][c]) * (at - k);
    }
  }
  return out;
}

// A pen on a canvas that shows a picture, whose grey levels can be read.
export function drawn(bitmap) {
  const source = document.createElement("canvas");
  Object.assign(source, { width: bitmap.width, height: bitmap.height });
  const pen = source.getContext("2d", { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  return pen;
}

// A picture in a colour map between two limits of its grey values.
export function tinted(bitmap, map, low, high, gamma) {
  const pen = drawn(bitmap);
  if (map === "grey" && low === 0 && high === 1 && gamma === 1) return pen.canvas;
  const data = pen.getImageData(0, 0, bitmap.width, bitmap.height);
  const lut = table(map, low, high, gamma);
  for (let i = 0; i < data.data.length; i += 4) {
    const k = 3 * data.data[i];
    data.data[i] = lut[k];
    data.data[i + 1] = lut[k + 1];
    data.data[i + 2] = lut[k + 2];
  }
  pen.putImageData(data, 0, 0);
  return pen.canvas;
}
