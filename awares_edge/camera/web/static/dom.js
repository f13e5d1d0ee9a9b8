// Small helpers to find and make elements. Text is always set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id, which must exist. */
export function $(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** An HTML element: `el("p", {class: "quiet"}, "text", otherElement)`. */
export const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

/** An SVG element. */
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

/** Press or release a toggle button. */
export const press = (button, on) => button.setAttribute("aria-pressed", String(on));
export const pressed = (button) => button.getAttribute("aria-pressed") === "true";

/** Replace the options of a <select>, and keep what is chosen where it is still there. */
export function setOptions(select, options, chosen) {
  const wanted = chosen ?? select.value;
  select.replaceChildren(
    ...options.map(({ value, label, disabled }) => el("option", { value, disabled }, label)),
  );
  select.value = wanted;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

/** Milliseconds for people: "7.4 ms", "812 ms", "3.2 s". */
export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(value >= 10000 ? 0 : 1)} s`;
  return `${value.toFixed(value < 20 ? 1 : 0)} ms`;
}

export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
