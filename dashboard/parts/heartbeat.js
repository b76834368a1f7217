// Heartbeat: notices that the server is gone, greys the page, says so, and reloads when it is
// back. Bokeh's own reconnection leaves live pages frozen, so it is not used.

import { element, listen } from "./part.js";

const SILENT_MS = 4000;
const POLL_MS = 1000;
const PATIENCE_MS = 3000;
const LOST = "Connection lost: what you see is not live. Trying to connect again…";

export function render({ model }) {
  let last = performance.now();
  let lost = false;
  let ended = "";
  const root = element("span", "beat");
  const veil = element("div");
  veil.setAttribute("role", "alert");
  veil.style.cssText =
    "position:fixed;inset:0;z-index:99999;display:none;place-items:center;background:rgba(40,40,40,.72);" +
    "color:#fff;font:600 24px Roboto,sans-serif;backdrop-filter:grayscale(1);text-align:center";
  document.body.append(veil);

  // A server that is only slow answers and goes on: then the veil is lifted. One that was started
  // anew answers without ever sending to this page again: then the page is loaded anew.
  let answeredAt = 0;
  async function poll() {
    if (!lost) return;
    try {
      // Not the page: a server that is only slow would build one more for each question.
      const answer = await fetch("parts/heartbeat.js", { cache: "no-store" });
      if (answer.status >= 500) throw new Error("a proxy answers");
      answeredAt = answeredAt || performance.now(); // "log in first" is an answer, too
    } catch {
      answeredAt = 0; // not back yet
    }
    if (lost && answeredAt && performance.now() - answeredAt > PATIENCE_MS) {
      location.reload();
      return;
    }
    setTimeout(poll, POLL_MS);
  }

  let woken = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    // After a sleep the first messages get a moment to arrive.
    if (now - woken > 3000) last = Math.max(last, now - SILENT_MS / 2);
    woken = now;
    if (!lost && now - last > SILENT_MS) {
      lost = true;
      answeredAt = 0;
      root.dataset.state = ended ? "ended" : "lost";
      veil.textContent = ended
        ? `The run has ended. Everything is in ${ended}; look at it with: pychip-stream review "${ended}"`
        : LOST;
      veil.style.display = "grid";
      poll();
    }
  }, 500);

  listen(model, (m) => {
    last = performance.now();
    lost = false;
    ended = m.ended || "";
    veil.style.display = "none";
    root.dataset.state = "alive";
    root.dataset.beats = m.beat;
  });
  model.on("remove", () => {
    clearInterval(timer);
    veil.remove();
  });
  return root;
}
