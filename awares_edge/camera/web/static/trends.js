// Sparklines: of the answers, and of the machine.

import { Trend } from "./chart.js";
import { milliseconds } from "./dom.js";

const percent = (value) => `${value.toFixed(0)} %`;
const megabytes = (value) => (value >= 1000 ? `${(value / 1000).toFixed(1)} GB` : `${value.toFixed(0)} MB`);

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
