// Source, bundle and runtime; and the camera of this browser.

import { getJson, post } from "./api.js";
import { $, setOptions } from "./dom.js";
import { Webcam } from "./webcam.js";

const dialog = $("setup");
const BROWSER = "browser";

export class Setup {
  constructor(complain) {
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

  fill({ sources, source, bundles, bundle, runtimes, runtime }) {
    this.now = { source, bundle, runtime };
    const named = sources.map(({ spec, name }) => ({ value: spec, label: name }));
    if (!named.some(({ value }) => value === source)) named.unshift({ value: source, label: source });
    setOptions($("source"), named, source);
    setOptions($("bundle"), bundles.map(({ path, name }) => ({ value: path, label: name })), bundle);
    const usable = runtimes.map(({ name, reason }) => ({
      value: name,
      label: reason ? `${name} (${reason})` : name,
      disabled: Boolean(reason),
    }));
    setOptions($("runtime"), usable, runtime);
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
    const wanted = { source: $("source").value, bundle: $("bundle").value, runtime: $("runtime").value };
    $("setup-apply").disabled = true;
    try {
      await this.useSource(wanted.source);
      if (wanted.bundle !== this.now.bundle || wanted.runtime !== this.now.runtime) {
        $("setup-note").textContent = "loading …";
        await post("/api/model", { bundle: wanted.bundle, runtime: wanted.runtime });
      }
      dialog.close();
    } catch (error) {
      $("setup-note").textContent = error.message;
    } finally {
      $("setup-apply").disabled = false;
    }
  }

  /** The camera of this browser runs exactly while this page chose it. */
  async useSource(spec) {
    if (spec === BROWSER) await this.webcam.start($("facing").value || this.webcam.choice);
    else this.webcam.stop();
    if (spec !== this.now.source) await post("/api/source", { source: spec });
    this.now.source = spec;
  }

  /** Another page may have chosen another source: then nobody wants this browser's frames. */
  follow(source) {
    if (source !== BROWSER && this.webcam.running) this.webcam.stop();
  }
}
