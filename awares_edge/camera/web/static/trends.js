// Sparklines: of the answers, and of the machine.

import { Trend } from "./chart.js";
import { milliseconds } from "./dom.js";

const percent = (value) => `${value.toFixed(0)} %`;
const megabytes = (value) => (value >= 1000 ? `${(value / 1000).toFixed(1)} GB` : `${value.toFixed(0)} MB`);

/** The sums since the start, in one line. */
export function sumsOf(stats) {
  if (!stats.answers) return "";
  const parts = [
    `${stats.answers} answers, ${stats.zoomed} zoomed`,
    `RTR ${(stats.visual_tokens / stats.full_tokens).toFixed(2)} in all`,
  ];
  if (stats.kept_views) parts.push(`${stats.kept_views} of ${stats.views} views kept`);
  if (stats.kept_regions) parts.push(`${stats.kept_regions} of ${stats.regions} crops kept`);
  if (stats.unchanged) parts.push(`${stats.unchanged} times unchanged, not asked`);
  if (stats.joules !== null) parts.push(`${stats.joules.toFixed(1)} J`);
  return parts.join(" · ");
}

export class Trends {
  constructor(node) {
    this.fps = 0;
    this.of = {
      ms: new Trend("time of a question", milliseconds),
      rtr: new Trend("visual tokens (RTR)", (value) => value.toFixed(2)),
      joules: new Trend("energy of a question", (value) => `${value.toFixed(2)} J`),
      fps: new Trend("camera", (value) => `${value.toFixed(1)} fps`),
      cpu: new Trend("CPU", percent),
      gpu: new Trend("GPU", percent),
      ram: new Trend("process memory", megabytes),
    };
    node.append(...Object.values(this.of).map((trend) => trend.node));
  }

  /** Begin again with the answers that the server remembers. */
  restart(exchanges) {
    for (const trend of [this.of.ms, this.of.rtr, this.of.joules]) trend.clear();
    for (const exchange of exchanges) if (exchange.state === "done") this.answered(exchange);
  }

  answered({ total_ms: ms, rtr, joules }) {
    this.of.ms.add(ms);
    this.of.rtr.add(rtr);
    this.of.joules.add(joules);
  }

  stats({ fps, load }) {
    this.fps = fps;
    this.of.fps.add(fps);
    this.of.cpu.add(load.cpu);
    this.of.gpu.add(load.gpu);
    this.of.ram.add(load.process_mb);
  }
}
