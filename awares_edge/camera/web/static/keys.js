// Keyboard: one table that the handler and the help dialog both read.

import { $, el } from "./dom.js";

const STORED = "awares-edge-keys";
const TYPING = "input, textarea, select, [contenteditable]";

function stored() {
  try {
    return localStorage.getItem(STORED) !== "off";
  } catch {
    return true; // storage may be switched off
  }
}

/**
 * @param actions [keys, words, action, whileTyping?]: keys are `KeyboardEvent.key`s, with "Shift+".
 */
export function bindKeys(actions) {
  const box = $("keys-on");
  box.checked = stored();
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(STORED, box.checked ? "on" : "off");
    } catch {
      // It then holds for this visit.
    }
  });
  for (const [keys, words] of actions) {
    const shown = keys.length > 3 ? [keys[0], "–", keys.at(-1)] : keys;
    const caps = shown.map((key) => (key === "–" ? " – " : el("kbd", {}, named(key))));
    $("keys").append(el("dt", {}, ...caps), el("dd", {}, words));
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target.matches?.(TYPING);
    const inside = document.querySelector("dialog[open]");
    const key = (event.shiftKey && event.key.length > 1 ? "Shift+" : "") + event.key;
    for (const [keys, , action, whileTyping] of actions) {
      if (!keys.includes(key) && !keys.includes(key.toLowerCase())) continue;
      if (inside || (typing && !whileTyping?.(event.target))) return;
      if (key.length === 1 && !box.checked) return;
      // Enter on a button presses it.
      if (event.key === "Enter" && !typing) return;
      event.preventDefault();
      action(key);
      return;
    }
  });
}

function named(key) {
  const names = { Escape: "Esc", Enter: "⏎", "Shift+Enter": "⇧ ⏎", ArrowLeft: "←", ArrowRight: "→" };
  return names[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}
