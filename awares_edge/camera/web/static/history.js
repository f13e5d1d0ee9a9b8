// Earlier exchanges, newest first, with thumbnails.

import { $, el, milliseconds } from "./dom.js";
import { pictureOf } from "./pictures.js";

const list = $("history");
const MOST = 60;

function summary(exchange) {
  if (exchange.state === "running") return "answering …";
  if (exchange.state !== "done") return exchange.state;
  return `RTR ${exchange.rtr.toFixed(2)} · ${milliseconds(exchange.total_ms)}`;
}

function content(exchange) {
  const answer = exchange.answer || exchange.error || "…";
  return [
    el("img", { src: pictureOf(exchange.id, "thumb"), alt: "", loading: "lazy" }),
    el(
      "span",
      {},
      el("span", { class: "q" }, `${exchange.follow_up ? "↳ " : ""}${exchange.question}`),
      el("span", { class: "a" }, answer),
      el(
        "span",
        { class: "m" },
        exchange.badge ? el("b", { class: exchange.badge }, exchange.badge) : null,
        exchange.badge ? " · " : null,
        summary(exchange),
      ),
    ),
  ];
}

/** Put an exchange at the top, or bring its entry up to date. */
export function keepEntry(exchange, choose) {
  $("history-empty").hidden = true;
  let button = list.querySelector(`button[data-id="${exchange.id}"]`);
  if (!button) {
    button = el("button", { type: "button", "data-id": exchange.id, "aria-pressed": "false" });
    button.addEventListener("click", () => choose(exchange.id));
    list.prepend(el("li", {}, button));
    while (list.children.length > MOST) list.lastElementChild.remove();
  }
  button.replaceChildren(...content(exchange));
}

export function markEntry(id) {
  for (const button of list.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.id === String(id)));
  }
}

/** Id of the entry `step` places after the marked one: 1 is older, -1 newer. */
export function neighbour(step) {
  const buttons = [...list.querySelectorAll("button")];
  const at = buttons.findIndex((button) => button.getAttribute("aria-pressed") === "true");
  const next = buttons[at + step] ?? buttons[at];
  return next ? Number(next.dataset.id) : null;
}

export function clearEntries() {
  list.replaceChildren();
  $("history-empty").hidden = false;
}
