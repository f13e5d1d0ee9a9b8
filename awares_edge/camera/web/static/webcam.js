// This browser's own camera as a source: JPEGs to the server, one at a time, the newest wins.

import { postPicture } from "./api.js";
import { el, wait } from "./dom.js";

const SIDE = 1280;
const PERIOD = 100; // milliseconds between frames, at least

export class Webcam {
  constructor(onError) {
    this.onError = onError;
    this.video = el("video", { playsinline: "", muted: "" });
    this.video.muted = true;
    this.canvas = document.createElement("canvas");
    this.stream = null;
    this.choice = "environment";
  }

  /** Why the camera cannot be opened here; null where it can. */
  static missing() {
    if (navigator.mediaDevices?.getUserMedia) return null;
    return "a browser opens its camera only over HTTPS, or on this machine: start with --lan";
  }

  get running() {
    return this.stream !== null;
  }

  /** Cameras to choose from; names come only after the user has allowed one. */
  async choices() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const named = devices.filter((device) => device.kind === "videoinput" && device.label);
    return [
      { value: "environment", label: "back camera" },
      { value: "user", label: "front camera" },
      ...named.map((device) => ({ value: `id:${device.deviceId}`, label: device.label })),
    ];
  }

  async open(choice = this.choice) {
    this.stop();
    const missing = Webcam.missing();
    if (missing) throw new Error(missing);
    this.choice = choice;
    const which = choice.startsWith("id:")
      ? { deviceId: { exact: choice.slice(3) } }
      : { facingMode: { ideal: choice } };
    const video = { ...which, width: { ideal: SIDE }, height: { ideal: 960 } };
    const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    this.stream = stream;
    this.video.srcObject = stream;
    await this.video.play();
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      if (this.stream === stream) {
        this.stop();
        this.onError("this browser's camera ended");
      }
    });
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
  }

  /** Send frames until `stop`. */
  async send() {
    const stream = this.stream;
    while (stream && this.stream === stream) {
      const began = performance.now();
      try {
        const blob = await this.grab();
        if (blob && this.stream === stream) await postPicture("/api/frame", blob);
      } catch (error) {
        this.onError(error.message);
        await wait(1000);
      }
      await wait(Math.max(0, PERIOD - (performance.now() - began)));
    }
  }

  /** The frame as it is now: what came while the last one was sent is skipped. */
  grab() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width) return null;
    const scale = Math.min(1, SIDE / Math.max(width, height));
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/jpeg", 0.85));
  }
}
