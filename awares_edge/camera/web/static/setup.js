// Camera and model; and the camera of this browser.

import { getJson, post } from "./api.js";
import { $, setOptions } from "./dom.js";
import { Webcam } from "./webcam.js";

const dialog = $("setup");
const BROWSER = "browser";

export class Setup {
  constructor(complain) {
    this.changing = false;
    this.webcam = new Webcam(complain);
    $("setup-open").addEventListener("click", () => this.open());
    $("setup-apply").addEventListener("click", () => this.apply());
    $("source").addEventListener("change", () => this.showBrowserCamera());
    window.addEventListener("pagehide", () => this.webcam.stop());
  }

  async open() {
    if (dialog.open) return;
    $("setup-note").textContent = "";
    dialog.showModal();
    try {
      this.fill(await getJson("/api/choices"));
    } catch (error) {
      $("setup-note").textContent = error.message;
    }
    await this.showBrowserCamera();
  }

  fill({ sources, source, models, model }) {
    this.now = { source, model };
    setOptions($("source"), sources.map(({ spec, name }) => ({ value: spec, label: name })), source);
    const usable = models.map(({ name, detail, reason }) => ({
      value: name,
      label: `${name} · ${reason || detail}`,
      disabled: Boolean(reason),
    }));
    setOptions($("choice"), usable, model);
  }

  async showBrowserCamera() {
    const chosen = $("source").value === BROWSER;
    $("browser-camera").hidden = !chosen;
    if (!chosen) return;
    const missing = Webcam.missing();
    if (missing) $("setup-note").textContent = missing;
    else setOptions($("facing"), await this.webcam.choices(), this.webcam.choice);
  }

  async apply() {
    const model = $("choice").value;
    $("setup-apply").disabled = true;
    this.changing = true; // what the server says meanwhile is about the camera before
    try {
      await this.useSource($("source").value);
      if (model !== this.now.model) {
        $("setup-note").textContent = `loading ${model} …`;
        await post("/api/model", { model });
      }
      dialog.close();
    } catch (error) {
      $("setup-note").textContent = error.message;
    } finally {
      $("setup-apply").disabled = false;
      this.changing = false;
    }
  }

  /** The camera of this browser runs exactly while this page chose it. */
  async useSource(source) {
    if (source === BROWSER) await this.webcam.open($("facing").value || this.webcam.choice);
    else this.webcam.stop();
    if (source !== this.now.source) await post("/api/source", { source });
    if (source === BROWSER) this.webcam.send();
    this.now.source = source;
  }

  /** Another page may have chosen another source: then nobody wants this browser's frames. */
  follow(source) {
    if (!this.changing && source !== BROWSER && this.webcam.running) this.webcam.stop();
  }
}
