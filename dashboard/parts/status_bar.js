// Status bar: how the run is, in the title bar of every page and in the tab's title; the alarm that
// matters most, with a sound for whoever wants one, until somebody has acknowledged it.

import { button, element, listen } from "./part.js";

const BEEP_MS = 2000;
const SHARE = "copy read-only link";
const KEY = "pychip-stream-sound";

export function render({ model }) {
  const root = element("div", "statusbar");
  const badge = element("span", "state", "connecting");
  const looks = element("span", "looks", "read only");
  const alarm = element("span", "alarm");
  alarm.setAttribute("role", "alert");
  const seen = button("seen", "acknowledge", () => model.send_msg({ type: "acknowledge", name: shown }));
  const sound = button("sound", "", () => {
    loud = !loud;
    localStorage.setItem(KEY, loud ? "on" : "");
    if (loud) beep(0.1); // heard at once, and allowed by the browser because of the click
    tell();
  });
  const copy = button("sound", "copy link", () => put(copy, "copy link", link));
  copy.title = "the address of this page with its run, frame and part of the curve";
  const share = button("share", SHARE, () => model.send_msg({ type: "share" }));
  share.title = "opens this page for whoever has no account, to look at and no more, for a week";
  share.hidden = true;
  const leave = element("a", "leave");
  leave.href = "logout";
  for (const [node, short] of [[seen, "ack"], [copy, "link"], [share, "share"], [sound, "sound"], [leave, "out"]]) {
    node.dataset.short = short; // for narrow screens
  }
  root.append(badge, looks, alarm, seen, copy, share, sound, leave);

  let shown = "";
  let link = "";
  let calling = false;
  let loud = localStorage.getItem(KEY) === "on";
  let audio = null;

  async function put(where, name, query) {
    const address = location.origin + location.pathname + query;
    try {
      await navigator.clipboard.writeText(address);
      where.textContent = "copied";
      setTimeout(() => (where.textContent = name), 2000);
    } catch {
      window.prompt("The link to what you see:", address); // pages may not copy here
    }
  }

  function beep(seconds) {
    audio = audio || new AudioContext();
    const tone = audio.createOscillator();
    const gain = audio.createGain();
    tone.frequency.value = 880;
    gain.gain.value = 0.2;
    tone.connect(gain).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + seconds);
    root.dataset.beeps = Number(root.dataset.beeps || 0) + 1;
  }

  function tell() {
    sound.textContent = loud ? "sound on" : "sound off";
    sound.setAttribute("aria-pressed", String(loud));
  }

  function show(m) {
    if (m.type === "shared") return m.trouble ? window.alert(m.trouble) : put(share, SHARE, m.link);
    badge.textContent = `${m.symbol} ${m.text}`;
    badge.dataset.light = m.light;
    root.dataset.link = link = m.link;
    share.hidden = !m.shares;
    looks.hidden = m.operator;
    looks.title = m.may;
    leave.hidden = !m.user;
    leave.textContent = `log out ${m.user}`;
    const [first] = m.alarms;
    shown = first ? first.name : "";
    const more = m.alarms.length > 1 ? ` (and ${m.alarms.length - 1} more)` : "";
    const words = first ? `${first.name}: ${first.text}` : "";
    const by = first && first.acknowledged ? `, acknowledged by ${first.acknowledged}` : "";
    if (alarm.textContent !== words + by + more) alarm.textContent = words + by + more;
    alarm.title = alarm.textContent;
    alarm.dataset.level = first ? first.level : "";
    seen.hidden = !first || Boolean(first.acknowledged) || !m.operator;
    calling = m.alarms.some((one) => one.level === "critical" && !one.acknowledged);
    document.title = `${first && !first.acknowledged ? "⚠ " + first.name : m.symbol + " " + m.text} · ${m.run}`;
  }

  const timer = setInterval(() => {
    if (calling && loud) beep(0.4);
  }, BEEP_MS);
  model.on("remove", () => clearInterval(timer));
  tell();
  seen.hidden = leave.hidden = looks.hidden = true;
  listen(model, show);
  return root;
}
