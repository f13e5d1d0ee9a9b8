// Earlier exchanges, newest first, with thumbnails.

import { $, el, milliseconds } from "./dom.js";
import { pictureOf } from "./pictures.js";

const list = $("history");
const MOST = 60;

function summary(exchange, times) {
  if (exchange.state === "running") return "answering …";
  if (exchange.state !== "done") return exchange.state;
  const again = times > 1 ? ` · ${times} times` : "";
  return `RTR ${exchange.rtr.toFixed(2)} · ${milliseconds(exchange.total_ms)}${again}`;
}

function words(exchange, times) {
  return el(
    "span",
    {},
    el("span", { class: "q" }, `${exchange.follow_up ? "↳ " : ""}${exchange.question}`),
    el("span", { class: "a" }, exchange.answer || exchange.error || "…"),
    el(
      "span",
      { class: "m" },
      exchange.badge ? el("b", { class: exchange.badge }, exchange.badge) : null,
      exchange.badge ? " · " : null,
      summary(exchange, times),
    ),
  );
}

/** The entry that an exchange belongs to: a continuous question with the same answer has one. */
function entryOf(exchange) {
  const newest = list.querySelector("button");
  if (!newest || newest.dataset.id === String(exchange.id)) return newest;
  const same = newest.dataset.question === String(exchange.question_id);
  if (exchange.continuous && same && newest.dataset.answer === exchange.answer) return newest;
  return list.querySelector(`button[data-id="${exchange.id}"]`);
}

/** Put an exchange at the top, or bring its entry up to date. */
export function keepEntry(exchange, choose) {
  if (exchange.continuous && exchange.state === "running") return;
  $("history-empty").hidden = true;
  let button = entryOf(exchange);
  if (!button) {
    button = el("button", { type: "button", "aria-pressed": "false" });
    button.addEventListener("click", () => choose(Number(button.dataset.id)));
    list.prepend(el("li", {}, button));
    while (list.children.length > MOST) list.lastElementChild.remove();
  }
  const { id, times = 0 } = button.dataset;
  const again = id === String(exchange.id) ? Number(times) : Number(times) + 1;
  Object.assign(button.dataset, { id: exchange.id, question: exchange.question_id, answer: exchange.answer, times: again });
  const picture = button.querySelector("img") ?? el("img", { alt: "", loading: "lazy" });
  // The picture of an answer that stays the same is renewed once in a while.
  if (id !== String(exchange.id) && (again === 1 || again % 10 === 0)) picture.src = pictureOf(exchange.id, "thumb");
  button.replaceChildren(picture, words(exchange, again));
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
