// Numbers as small pictures: meters, the table of phases, sparklines.

import { el, milliseconds, svg } from "./dom.js";

const PHASES = ["preprocess", "vision", "prefill", "decode"];

function meter(parts, whole, label) {
  const bar = el("div", { class: "meter", role: "img", "aria-label": label });
  for (const [style, value] of parts) {
    if (value <= 0) continue;
    const part = el("i", { class: style });
    part.style.width = `${Math.min(100, (100 * value) / whole)}%`;
    bar.append(part);
  }
  return bar;
}

/** Visual tokens: low-res view and crops, of what the whole picture would have cost. */
export function tokenMeter({ visual_tokens: tokens, rtr }) {
  const spent = tokens.low + tokens.crops;
  const label = `${spent} of ${tokens.full} visual tokens`;
  const detail = tokens.crops ? `first view ${tokens.low}, crops ${tokens.crops}` : "first view only";
  return el(
    "div",
    { class: "tokens" },
    el(
      "p",
      { class: "meter-head" },
      el("b", {}, label, " · RTR ", el("span", { id: "rtr" }, rtr.toFixed(2))),
      el("span", {}, detail),
    ),
    meter([["c1", tokens.low], ["cz", tokens.crops]], Math.max(tokens.full, spent), label),
  );
}

/** Time by phase and turn, with a bar of all of it. */
export function phaseTable({ turns_ms: turns, total_ms: total, joules }) {
  const sums = PHASES.map((phase) => turns.reduce((sum, turn) => sum + (turn[phase] ?? 0), 0));
  const whole = Math.max(total, sums.reduce((a, b) => a + b, 0)) || 1;
  const head = ["", ...PHASES, "sum"].map((name, at) => {
    const mark = at >= 1 && at <= 4 ? el("i", { class: `key c${at - 1}`, "aria-hidden": "true" }) : null;
    return el("th", { scope: "col" }, mark, name);
  });
  const rows = turns.map((turn, at) => {
    const values = PHASES.map((phase) => turn[phase] ?? 0);
    const cells = [...values, values.reduce((a, b) => a + b, 0)];
    const name = turns.length === 1 ? "only turn" : `turn ${at + 1}`;
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, name),
      ...cells.map((value) => el("td", {}, value ? value.toFixed(value < 100 ? 1 : 0) : "–")),
    );
  });
  const energy = joules === null || joules === undefined ? "" : ` · ${joules.toFixed(2)} J`;
  return el(
    "div",
    { class: "times" },
    el("p", { class: "meter-head" }, el("b", {}, `${milliseconds(total)}${energy}`), el("span", {}, "ms by phase and turn")),
    meter(sums.map((value, at) => [`c${at}`, value]), whole, `time by phase, ${milliseconds(total)} in all`),
    el("table", { class: "phases" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)),
  );
}

/** One number over time. */
export class Trend {
  constructor(title, format, most = 60) {
    this.format = format;
    this.most = most;
    this.values = [];
    this.value = el("b", {}, "–");
    this.line = svg("polyline", { points: "" });
    this.last = svg("polyline", { class: "last", points: "" });
    this.picture = svg(
      "svg",
      { viewBox: "0 0 100 24", preserveAspectRatio: "none", role: "img", "aria-label": title },
      this.line,
      this.last,
    );
    this.node = el("div", { class: "trend" }, el("p", {}, title), this.value, this.picture);
    this.node.hidden = true;
  }

  add(value) {
    if (value === null || value === undefined || !Number.isFinite(value)) return;
    this.values = [...this.values, value].slice(-this.most);
    this.node.hidden = false;
    this.draw();
  }

  draw() {
    const top = Math.max(...this.values) * 1.1 || 1;
    const step = 98 / Math.max(1, this.values.length - 1);
    const points = this.values.map((v, at) => `${(1 + at * step).toFixed(1)},${(22 - (20 * v) / top).toFixed(1)}`);
    const end = points[points.length - 1];
    this.line.setAttribute("points", points.join(" "));
    this.last.setAttribute("points", `${end} ${end}`);
    this.value.textContent = this.format(this.values[this.values.length - 1]);
  }
}
