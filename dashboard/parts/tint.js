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

// 256 colours of a map between two limits (0…1) of the picture's grey values.
export function table(name, low, high) {
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
