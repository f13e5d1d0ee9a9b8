// The frame that was asked about, with what the model looked at drawn on it, and what it was shown.

import { el, svg } from "./dom.js";

export const pictureOf = (id, name) => `/api/exchanges/${id}/${name}.jpg`;

function bounds(region) {
  const [left, top, right] = region.box;
  return { left, top, width: right - left };
}

/** A label at the top left of a region, as large as the picture allows. */
function tag(region, width) {
  const size = width / 28;
  const { left, top } = bounds(region);
  const text = svg("text", { x: left + size * 0.4, y: top + size * 1.15 }, region.name);
  text.style.fontSize = `${size}px`;
  const room = (region.name.length * 0.58 + 0.8) * size;
  return [svg("rect", { class: "tag", x: left, y: top, width: room, height: size * 1.6 }), text];
}

/** A frame with its regions; sizes are in the frame's pixels. */
export function markedFrame(exchange) {
  const [width, height] = exchange.frame_size;
  const names = exchange.regions.map((region) => region.name).join(", ");
  const label = names ? `Frame asked about; looked closer at: ${names}` : "Frame asked about";
  const shapes = exchange.regions.flatMap((region) => {
    const points = region.corners.map((corner) => corner.join(",")).join(" ");
    return [svg("polygon", { class: "under", points }), svg("polygon", { class: "region", points }), ...tag(region, width)];
  });
  return svg(
    "svg",
    { class: "marked", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    svg("image", { href: pictureOf(exchange.id, "frame"), width, height }),
    ...shapes,
  );
}

function captioned(content, title, detail, style = "") {
  return el("figure", {}, el("div", { class: `frame ${style}` }, content), el("figcaption", {}, el("b", {}, title), " ", detail));
}

function shownPicture(id, name, alt) {
  const image = el("img", { src: pictureOf(id, name), alt, loading: "lazy" });
  image.addEventListener("error", () => image.closest("figure")?.remove(), { once: true });
  return image;
}

/** Frame with rectangles, first view, and every crop, side by side. */
export function seenPictures(exchange) {
  const frame = markedFrame(exchange);
  const [width, height] = exchange.frame_size;
  const figures = [captioned(frame, "frame", `${width} × ${height}`)];
  if (exchange.state === "running" && !exchange.regions.length) return figures;
  const { low } = exchange.visual_tokens;
  figures.push(captioned(shownPicture(exchange.id, "first", "First view"), "seen first", low ? `${low} tokens` : ""));
  exchange.regions.forEach((region, at) => {
    const picture = shownPicture(exchange.id, `crop-${at}`, `Crop: ${region.name}`);
    figures.push(captioned(picture, region.name, `${region.tokens} tokens`, "crop"));
  });
  return figures;
}
