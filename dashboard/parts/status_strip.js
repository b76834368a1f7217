// Status strip: how fresh the page is, in words and colour, and where the time goes.

import { element, listen, say } from "./part.js";

export function render({ model }) {
  const root = element("div", "strip");
  const alerts = element("div", "alerts");
  alerts.setAttribute("role", "alert");
  const line = element("div", "line");
  const badge = element("span", "badge", "connecting");
  badge.setAttribute("role", "status");
  badge.setAttribute("aria-live", "polite");
  const detail = element("span", "detail");
  line.append(badge, detail);
  const facts = element("dl", "facts");
  const steps = element("div", "steps");
  root.append(alerts, line, facts, steps);

  function show(m) {
    badge.textContent = `${m.symbol} ${m.text}`;
    badge.dataset.light = m.light;
    root.dataset.light = m.light;
    detail.textContent = m.detail || "";
    facts.replaceChildren(...m.facts.map(([name, value]) => {
      const fact = element("div"); // what a line breaks between is whole facts
      fact.append(element("dt", "", name), element("dd", "", value));
      return fact;
    }));
    steps.replaceChildren(...m.steps.map(([name, value, share]) => {
      const step = element("div", "step");
      step.style.flexGrow = Math.max(share, 0.04);
      step.append(element("span", "what", name), element("span", "time", value));
      step.title = `${name}: ${value}`;
      return step;
    }));
    steps.setAttribute("aria-label", m.steps.map(([name, value]) => `${name} ${value}`).join(", "));
    say(alerts, m.alerts.map(([level, text]) => [`alert ${level}`, level, text]));
  }

  listen(model, show);
  return root;
}
