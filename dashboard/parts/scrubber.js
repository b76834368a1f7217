// Scrubber: goes through the frames of a run by hand or by itself. One frame is on its way at a
// time; of the wishes that come meanwhile the newest counts.

import { button, element, listen } from "./part.js";

const TICK_MS = 100;
const PACE_MS = 2000; // over which the pace is measured
const SLOWER = 0.8; // of what was chosen, from which on it is said

export function render({ model }) {
  const root = element("div", "scrubber");
  const tool = (text, title, act) => {
    const node = button("tool", text, act);
    node.title = title;
    node.setAttribute("aria-label", title);
    return node;
  };
  const range = element("input");
  Object.assign(range, { type: "range", min: 0, max: 0, step: 1, value: 0 });
  range.setAttribute("aria-label", "frame of the run");
  const text = element("span", "where");
  text.setAttribute("aria-live", "off");
  const pace = element("span", "pace");
  const speed = element("select");
  speed.setAttribute("aria-label", "frames per second");
  for (const rate of [1, 2, 5, 10, 25, 100, 1000]) speed.append(new Option(`${rate}/s`, rate));
  speed.value = 5;

  let count = 0;
  let at = 0;
  let wanted = null;
  let busy = false;
  let busySince = 0;
  let timer = 0;
  let due = 0;
  let since = null; // when and at which frame the measured stretch began

  function seek(number) {
    wanted = Math.min(Math.max(number, 0), count - 1);
    range.value = wanted;
    ask();
  }
  function ask() {
    const now = performance.now();
    if (wanted === null || (busy && now - busySince < 3000)) return;
    busy = true;
    busySince = now;
    model.send_msg({ type: "seek", number: wanted });
    wanted = null;
  }
  function tick() {
    if (busy || wanted !== null) {
      ask();
      return;
    }
    due += (Number(speed.value) * TICK_MS) / 1000;
    const step = Math.floor(due);
    if (!step) return;
    due -= step;
    if (at >= count - 1) play(false);
    else seek(at + step);
  }
  function measure() {
    const now = performance.now();
    if (!timer || since === null || at < since.at) {
      since = { now, at };
      return;
    }
    const took = now - since.now;
    if (took < PACE_MS) return;
    const rate = ((at - since.at) * 1000) / took;
    since = { now, at };
    const slow = rate < SLOWER * Number(speed.value);
    pace.textContent = slow ? `plays only ${rate.toFixed(rate < 10 ? 1 : 0)}/s` : "";
  }
  function play(on) {
    clearInterval(timer);
    timer = 0;
    since = null;
    pace.textContent = "";
    if (on) {
      if (at >= count - 1) seek(0);
      due = 0;
      timer = setInterval(tick, TICK_MS);
    }
    start.textContent = on ? "❚❚" : "▶";
    start.title = on ? "pause (Space)" : "play (Space)";
    start.setAttribute("aria-label", on ? "pause" : "play");
    root.dataset.playing = on ? "1" : "0";
  }

  const start = tool("▶", "play", () => play(!timer));
  start.title = "play (Space)";
  range.addEventListener("input", () => {
    play(false);
    seek(Number(range.value));
  });
  range.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.repeat) return;
    event.preventDefault();
    play(!timer);
  });
  speed.addEventListener("change", () => {
    since = null;
    pace.textContent = "";
  });
  root.append(
    tool("|◀", "first frame", () => seek(0)),
    tool("‹", "one frame back", () => seek(at - 1)),
    start,
    tool("›", "one frame on", () => seek(at + 1)),
    tool("▶|", "last frame", () => seek(count - 1)),
    range, speed, pace, text,
  );
  listen(model, (m) => {
    count = m.count;
    at = m.at;
    busy = false;
    measure();
    range.max = Math.max(count - 1, 0);
    if (wanted === null) range.value = at;
    range.setAttribute("aria-valuetext", m.text);
    text.textContent = m.text;
    root.dataset.at = at;
    root.dataset.count = count;
    ask();
  });
  model.on("remove", () => clearInterval(timer));
  return root;
}
