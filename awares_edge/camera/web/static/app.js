// Puts the parts together: what the server says, what is shown, what the user does.

import { announce, showAnswer, stillStands } from "./answer.js";
import { followEvents, getJson, post, whenRefused } from "./api.js";
import { clearEntries, keepEntry, markEntry, neighbour } from "./history.js";
import { $, el, press, pressed } from "./dom.js";
import { bindKeys } from "./keys.js";
import { runLive } from "./live.js";
import { logIn } from "./login.js";
import { markLive, Pictures } from "./pictures.js";
import { Setup } from "./setup.js";
import { sumsOf, Trends } from "./trends.js";

const exchanges = new Map();
const MOST = 200; // exchanges, as many as the server remembers
let shown = null; // id of the exchange in the answer panel
let following = true; // whether that is the newest one, and the next one takes its place
let state = {};
let noticeTimer = 0;

const pictures = new Pictures($("asked"), $("pictures"));
const trends = new Trends($("trends"));
const setup = new Setup(complain);

/** One line that goes away by itself. */
function complain(message) {
  $("notice").textContent = message;
  $("notice").hidden = !message;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => ($("notice").hidden = true), 8000);
}

/** Do something that the server may refuse; its reason is shown. */
async function trying(action) {
  try {
    await action();
  } catch (error) {
    if (error.status !== 401) complain(error.message);
  }
}

// What is shown

function showModel({ name, runtime, precision, device, protocol }) {
  $("model").textContent = [name, runtime, precision, device, `protocol ${protocol}`].join(" · ");
}

function showStage(asked) {
  $("live").hidden = asked;
  $("live-marks").toggleAttribute("hidden", asked);
  $("asked").hidden = !asked;
  press($("show-live"), !asked);
  press($("show-asked"), asked);
  showLost();
}

const askedIsShown = () => pressed($("show-asked"));

function showLost() {
  const off = state.camera !== "live";
  $("link").classList.toggle("off", off);
  $("link").querySelector("[role=status]").textContent = linkText(off);
  $("fps").textContent = !off && trends.fps ? ` · ${trends.fps.toFixed(0)} fps` : "";
  $("lost").textContent = state.text ?? "";
  $("lost").hidden = !off || askedIsShown();
}

const AWAY = { away: "server away", locked: "locked" };

/** Without its token the page shows nothing; without its server, what it had. */
function unreachable() {
  const locked = $("login").open;
  const text = locked ? "this page needs its token" : "the server cannot be reached: trying again";
  state = { ...state, camera: locked ? "locked" : "away", text };
  showLost();
}

function linkText(off) {
  if (state.camera === undefined) return "connecting …";
  if (off) return AWAY[state.camera] ?? `camera ${state.camera}`;
  return "live";
}

function show(id) {
  const exchange = exchanges.get(id);
  if (!exchange) return;
  shown = id;
  showAnswer(exchange);
  markEntry(id);
  pictures.show(exchange);
  $("show-asked").disabled = false;
  $("seen").hidden = false;
  showButtons();
}

const newestId = () => Math.max(0, ...exchanges.keys());

/** While a question is continuous, what it looked at last is drawn over the live view. */
function showLiveMarks() {
  const newest = exchanges.get(newestId());
  const stands = Boolean(state.question) && newest?.continuous;
  if (!stands) markLive($("live-marks"), null);
  else if (newest.state !== "running" || newest.regions.length) markLive($("live-marks"), newest);
}

function showButtons() {
  const busy = Boolean(state.asking || state.question);
  const newest = newestId();
  const last = exchanges.get(newest);
  $("stop").disabled = !busy;
  // The model remembers the newest frame's conversation only.
  $("ask-follow").disabled = busy || !last || last.state !== "done" || shown !== newest;
  press($("continuous"), Boolean(state.question));
  press($("record"), Boolean(state.recording));
}

function showPresets(suggestions) {
  const known = [...$("presets").children].map((button) => button.textContent);
  if (known.join("\n") === suggestions.join("\n")) return;
  const buttons = suggestions.slice(0, 6).map((question, at) => {
    const button = el("button", { type: "button", title: `Ask this (${at + 1})` }, question);
    button.addEventListener("click", () => usePreset(question));
    return button;
  });
  $("presets").replaceChildren(...buttons);
}

const PRESETS = ["What is in the picture?", "What does the text say?", "How many people are there?"];

// What the server says

const handlers = {
  exchange({ exchange }) {
    const before = exchanges.get(exchange.id);
    remember(exchange);
    keepEntry(exchange, choose);
    if (!before && !exchange.continuous) {
      following = true;
      showStage(true);
    }
    if (exchange.id === shown || (following && exchange.id > (shown ?? 0) && !waits(exchange))) show(exchange.id);
    if (exchange.state !== "running" && before?.state !== exchange.state) ended(exchange);
    showLiveMarks();
  },
  state(event) {
    state = event;
    setup.follow(event.source);
    showPresets(event.suggestions.length ? event.suggestions : PRESETS);
    showLost();
    showButtons();
    showLiveMarks();
  },
  model: showModel,
  stats(event) {
    trends.stats(event);
    $("sums").textContent = sumsOf(event);
    showLost();
  },
  unchanged({ id }) {
    if (id === shown) stillStands();
  },
  error({ message, cancelled }) {
    if (!cancelled) complain(message);
  },
};

function remember(exchange) {
  exchanges.set(exchange.id, exchange);
  if (exchanges.size > MOST) exchanges.delete(exchanges.keys().next().value);
}

/** A continuous question that has said nothing yet leaves its last answer in place. */
function waits(exchange) {
  const before = exchanges.get(shown);
  return exchange.state === "running" && !exchange.answer && before?.question_id === exchange.question_id;
}

function ended(exchange) {
  if (exchange.id === shown) announce(exchange);
  if (exchange.state === "done") trends.answered(exchange);
  showButtons();
}

function choose(id) {
  following = id === newestId();
  show(id);
  showStage(true);
}

/** The pause that the command line named is offered, and chosen at first. */
function offerInterval(seconds) {
  const select = $("interval");
  const known = [...select.options].some((option) => Number(option.value) === seconds);
  if (!seconds || known) return;
  select.append(el("option", { value: seconds }, `${seconds} s`));
  select.value = seconds;
}

async function refresh() {
  await trying(async () => {
    const all = await getJson("/api/state");
    showModel(all.model);
    $("record").disabled = !all.records;
    $("record").title = all.records ? "Save frames with answers (R)" : "Start with --record FOLDER to save frames with answers";
    document.title = `${all.model.name} · awares-edge camera`;
    offerInterval(all.every);
    $("question").value ||= all.state.question;
    exchanges.clear();
    clearEntries();
    for (const exchange of all.exchanges) {
      remember(exchange);
      keepEntry(exchange, choose);
    }
    trends.restart(all.exchanges);
    if (exchanges.size) show(!following && exchanges.has(shown) ? shown : newestId());
    handlers.state(all.state);
  });
}

// What the user does

async function ask(options = {}) {
  const question = $("question").value.trim();
  if (!question) return $("question").focus();
  await trying(() => post("/api/ask", { question, ...options }));
}

const followUp = () => ask($("ask-follow").disabled ? {} : { follow_up: true });
const stop = () => trying(() => post("/api/cancel"));
const every = () => Number($("interval").value);

function continuous() {
  if (state.question) return stop();
  showStage(false);
  return ask({ continuous: true, every: every() });
}

function usePreset(question) {
  $("question").value = question;
  return state.question ? ask({ continuous: true, every: every() }) : ask();
}

function turnPage(step) {
  const id = neighbour(step);
  if (id !== null) choose(id);
}

const record = () => $("record").disabled || trying(() => post("/api/record", { on: !state.recording }));

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
$("ask-follow").addEventListener("click", followUp);
$("stop").addEventListener("click", stop);
$("continuous").addEventListener("click", continuous);
$("interval").addEventListener("change", () => state.question && ask({ continuous: true, every: every() }));
$("record").addEventListener("click", record);
$("show-live").addEventListener("click", () => showStage(false));
$("show-asked").addEventListener("click", () => showStage(true));
$("help-open").addEventListener("click", () => $("help").showModal());

const inQuestion = (target) => target === $("question");
bindKeys([
  [["/"], "write a question", () => $("question").focus()],
  [["Enter"], "ask about the newest frame", () => ask(), inQuestion],
  [["Shift+Enter"], "follow up: same frame, with the conversation", followUp, inQuestion],
  [["Escape"], "stop", stop, inQuestion],
  [["c"], "continuous on, off", continuous],
  [["l"], "live view or asked frame", () => $("show-asked").disabled || showStage(!askedIsShown())],
  [["ArrowLeft", "ArrowRight"], "newer, older answer", (key) => turnPage(key === "ArrowLeft" ? -1 : 1)],
  [["1", "2", "3", "4", "5", "6"], "preset question", (key) => $("presets").children[key - 1]?.click()],
  [["r"], "record on, off", record],
  [["s"], "setup", () => setup.open()],
  [["?"], "this help", () => $("help").showModal()],
]);

whenRefused(() => {
  logIn(refresh);
  unreachable();
});
if (location.hash.startsWith("#token=")) await logIn();
showLost();
followEvents(
  (event) => handlers[event.kind]?.(event),
  (connected) => {
    if (connected) refresh();
    else unreachable();
  },
);
runLive(() => false);
