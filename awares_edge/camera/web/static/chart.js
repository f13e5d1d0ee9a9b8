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
      el("b", {}, `${label} · RTR ${rtr.toFixed(2)}`),
      el("span", {}, detail),
    ),
    meter([["c1", tokens.low], ["cz", tokens.crops]], Math.max(tokens.full, spent), label),
  );
}

const number = (value) => (value ? value.toFixed(value < 100 ? 1 : 0) : "–");

function row(head, cells) {
  return el("tr", {}, el("th", { scope: "row" }, ...head), ...cells.map((value) => el("td", {}, number(value))));
}

/** Time by phase and turn, with a bar of all of it. */
export function phaseTable({ turns_ms: turns, total_ms: total, joules }) {
  const add = (values) => values.reduce((a, b) => a + b, 0);
  const rows = PHASES.map((phase) => turns.map((turn) => turn[phase] ?? 0));
  const sums = rows.map(add);
  const columns = turns.length > 1 ? turns.map((_, at) => `turn ${at + 1}`) : [];
  const head = ["ms", ...columns, "sum"].map((name) => el("th", { scope: "col" }, name));
  const body = PHASES.map((phase, at) => {
    const mark = el("i", { class: `key c${at}`, "aria-hidden": "true" });
    return row([mark, phase], columns.length ? [...rows[at], sums[at]] : [sums[at]]);
  });
  const ofTurns = columns.map((_, turn) => add(rows.map((values) => values[turn])));
  body.push(row(["all"], [...ofTurns, add(sums)]));
  const energy = joules === null || joules === undefined ? "" : ` · ${joules.toFixed(2)} J`;
  const rest = total - add(sums);
  return el(
    "div",
    { class: "times" },
    el(
      "p",
      { class: "meter-head" },
      el("b", {}, `${milliseconds(total)}${energy}`),
      el("span", {}, rest > 0.05 * total ? `${milliseconds(rest)} outside the model` : ""),
    ),
    meter(sums.map((value, at) => [`c${at}`, value]), Math.max(total, add(sums)) || 1, `time by phase, ${milliseconds(total)} in all`),
    el("table", { class: "phases" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body)),
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

  clear() {
    this.values = [];
    this.node.hidden = true;
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
