// The live view: one JPEG at a time, the next one when this one is drawn.

import { get } from "./api.js";
import { $, wait } from "./dom.js";

/** Milliseconds a frame, at least: encoding more of them would take time from the model. */
const PERIOD = 66;

const canvas = $("live");
const context = canvas.getContext("2d", { alpha: false });

async function draw(response) {
  const picture = await createImageBitmap(await response.blob());
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
    $("stage").style.aspectRatio = `${picture.width} / ${picture.height}`;
  }
  context.drawImage(picture, 0, 0);
  picture.close();
}

const visible = () =>
  new Promise((resolve) => {
    if (!document.hidden) return resolve();
    document.addEventListener("visibilitychange", resolve, { once: true });
  });

/** Show frames for as long as the page is open; a hidden page asks for none. */
export async function runLive(stopped) {
  let number = 0;
  while (!stopped()) {
    await visible();
    const began = performance.now();
    try {
      const response = await get(`/api/frame.jpg?after=${number}`);
      if (response.status !== 200) continue; // no newer frame yet
      number = Number(response.headers.get("X-Frame"));
      canvas.dataset.frame = number;
      await draw(response);
      await wait(Math.max(0, PERIOD - (performance.now() - began)));
    } catch {
      // The server is away, or the camera is: the status line says which.
      number = 0;
      await wait(500);
    }
  }
}
