// The answer as it comes, its badges, and its numbers.

import { phaseTable, tokenMeter } from "./chart.js";
import { $, el } from "./dom.js";

/** Below this confidence an answer is more likely wrong than right. */
const UNSURE = 0.5;

const text = $("answer-text");
const thoughts = $("reasoning");

function badge(style, words, title) {
  return el("span", { class: `badge ${style}`, title }, words);
}

/** Certainty is not claimed where rounding makes it. */
function percent(share) {
  if (share >= 0.995) return "over 99 %";
  return share < 0.005 ? "under 1 %" : `${Math.round(share * 100)} %`;
}

function badges(exchange) {
  const found = [];
  if (exchange.badge === "zoomed") {
    const names = exchange.regions.map((region) => region.name).join(", ");
    found.push(badge("zoomed", `zoomed: ${names}`, "The model asked for a closer look"));
  } else if (exchange.badge === "direct") {
    found.push(badge("direct", "direct", "Answered from the first view"));
  }
  const sure = exchange.confidence;
  const hasSure = sure !== null && sure !== undefined;
  if (exchange.abstained) found.push(badge("unsure", "unsure", "The answer was withheld: the model is not sure enough"));
  else if (hasSure && sure < UNSURE) found.push(badge("unsure", "unsure", "More likely wrong than right"));
  if (hasSure) {
    found.push(badge("plain", `confidence ${percent(sure)}`, "How likely the answer is right"));
  }
  if (exchange.kept_view) found.push(badge("plain", "view kept", "The frame looks as before: its KV cache was used"));
  if (exchange.kept_regions) found.push(badge("plain", `${exchange.kept_regions} crops kept`, "Features of unchanged crops were used again"));
  return found;
}

function note(exchange) {
  const parts = [];
  if (exchange.note) parts.push(exchange.note);
  if (exchange.policies.length) parts.push(`policies: ${exchange.policies.join(", ")}`);
  return parts.join(" · ");
}

function show(exchange) {
  $("answer").hidden = false;
  $("answer-question").textContent = `${exchange.follow_up ? "↳ " : ""}${exchange.question}`;
  const failed = exchange.state === "failed" || exchange.state === "cancelled";
  text.classList.toggle("failed", failed && !exchange.answer);
  text.textContent = exchange.answer || (failed ? exchange.error || "stopped" : "");
  text.classList.toggle("pulse", exchange.state === "running" && !exchange.answer);
  if (exchange.state === "running" && !exchange.answer) text.textContent = exchange.regions.length ? "looking closer …" : "looking …";
  text.setAttribute("aria-busy", String(exchange.state === "running"));
  $("badges").replaceChildren(...badges(exchange));
  $("withheld").hidden = !exchange.withheld;
  $("withheld").querySelector("p").textContent = exchange.withheld;
  thoughts.hidden = !exchange.reasoning;
  thoughts.querySelector("p").textContent = exchange.reasoning.replace(/<\/?think(?:ing)?>/g, "").trim();
  const words = note(exchange);
  $("answer-note").textContent = words;
  $("answer-note").hidden = !words;
  $("stands").hidden = true;
  const numbers = exchange.state === "done" ? [tokenMeter(exchange), phaseTable(exchange)] : [];
  $("numbers").replaceChildren(...numbers);
}

/** For screen readers: the whole answer once, instead of every piece of it. */
function announce(exchange) {
  const how = exchange.badge ? `, ${exchange.path || exchange.badge}` : "";
  $("announce").textContent = exchange.answer ? `${exchange.answer}${how}` : exchange.error;
}

/** A continuous question was not asked again, as nothing that the model saw has changed. */
function stillStands() {
  $("stands").textContent = `Still so at ${new Date().toLocaleTimeString()}: nothing that the model saw has changed.`;
  $("stands").hidden = false;
}

export { announce, show as showAnswer, stillStands };
