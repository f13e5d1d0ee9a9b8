// The frame that was asked about, with what the model looked at drawn on it, and what it was shown.

import { el, svg } from "./dom.js";

export const pictureOf = (id, name) => `/api/exchanges/${id}/${name}.jpg`;

/** A label at a region's first corner: above it, or inside where there is no room. */
function tag(region, width) {
  const size = width / 28;
  const room = (region.name.length * 0.58 + 0.8) * size;
  const [x, y] = region.corners[0];
  const left = Math.max(0, Math.min(x, width - room));
  const top = y >= size * 1.7 ? y - size * 1.7 : Math.max(0, y);
  const text = svg("text", { x: left + size * 0.4, y: top + size * 1.15 }, region.name);
  text.style.fontSize = `${size}px`;
  return [svg("rect", { class: "tag", x: left, y: top, width: room, height: size * 1.6 }), text];
}

function outline(region) {
  const points = region.corners.map((corner) => corner.join(",")).join(" ");
  return [svg("polygon", { class: "under", points }), svg("polygon", { class: "region", points })];
}

/** The regions of an exchange as SVG shapes, in pixels of its frame. */
function shapesOf(exchange, tags) {
  const [width] = exchange.frame_size;
  return exchange.regions.flatMap((region) => [...outline(region), ...(tags ? tag(region, width) : [])]);
}

/** Draw an exchange's regions over the live view; null takes them away. */
export function markLive(node, exchange) {
  node.setAttribute("viewBox", exchange ? `0 0 ${exchange.frame_size.join(" ")}` : "0 0 1 1");
  node.replaceChildren(...(exchange ? shapesOf(exchange, true) : []));
}

/** A frame with its regions; SVG keeps them sharp and in place at any size. */
function markedFrame(exchange, { tags }) {
  const [width, height] = exchange.frame_size;
  const names = exchange.regions.map((region) => region.name).join(", ");
  const alt = names ? `Frame asked about; looked closer at: ${names}` : "Frame asked about";
  return el(
    "div",
    { class: "marked" },
    el("img", { src: pictureOf(exchange.id, "frame"), alt, width, height }),
    svg("svg", { class: "marks", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...shapesOf(exchange, tags)),
  );
}

function captioned(content, title, detail, style = "") {
  return el("figure", {}, el("div", { class: `frame ${style}` }, content), el("figcaption", {}, el("b", {}, title), " ", detail));
}

/** Frame with rectangles, first view, and every crop, side by side. */
function seenPictures(exchange) {
  const [width, height] = exchange.frame_size;
  const figures = [captioned(markedFrame(exchange, { tags: false }), "frame", `${width} × ${height}`)];
  if (exchange.state !== "done") return figures;
  const first = el("img", { src: pictureOf(exchange.id, "first"), alt: "First view" });
  figures.push(captioned(first, "seen first", `${exchange.visual_tokens.low} tokens`));
  exchange.regions.forEach((region, at) => {
    const crop = el("img", { src: pictureOf(exchange.id, `crop-${at}`), alt: `Crop: ${region.name}` });
    figures.push(captioned(crop, region.name, `${region.tokens} tokens`, "crop"));
  });
  return figures;
}

/**
 * Shows an exchange's pictures on a stage and in a strip, once they are loaded: nothing flickers.
 * While one loads, only the newest of those that come meanwhile waits.
 */
export class Pictures {
  constructor(stage, strip) {
    this.stage = stage;
    this.strip = strip;
    this.key = "";
    this.waiting = null;
    this.loading = false;
  }

  async show(exchange) {
    this.waiting = exchange;
    if (this.loading) return;
    this.loading = true;
    while (this.waiting) {
      const next = this.waiting;
      this.waiting = null;
      await this.load(next);
    }
    this.loading = false;
  }

  async load(exchange) {
    const key = `${exchange.id} ${exchange.state} ${exchange.regions.length}`;
    if (key === this.key) return;
    this.key = key;
    const marked = markedFrame(exchange, { tags: true });
    const figures = seenPictures(exchange);
    const there = await Promise.all([marked, ...figures].map(isLoaded));
    this.stage.replaceChildren(there[0] ? marked : el("p", { class: "gone" }, "This frame is no longer kept."));
    this.strip.replaceChildren(...figures.filter((_, at) => there[at + 1]));
  }
}

async function isLoaded(node) {
  const images = [...node.querySelectorAll("img")];
  const loaded = await Promise.allSettled(images.map((image) => image.decode()));
  return loaded.every(({ status }) => status === "fulfilled");
}
