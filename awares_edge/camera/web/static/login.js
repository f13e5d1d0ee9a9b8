// The token: from the link's fragment, which no server sees, or typed.

import { post } from "./api.js";
import { $ } from "./dom.js";

const dialog = $("login");
let afterwards = () => {};

async function send(token) {
  await post("/api/login", { token });
  if (dialog.open) dialog.close();
  afterwards();
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await send($("token").value.trim());
    $("token").value = "";
  } catch (error) {
    $("login-note").textContent = error.message;
  }
});
// Without the token there is nothing behind this dialog.
dialog.addEventListener("cancel", (event) => event.preventDefault());

/** Show the token that the link holds, or ask for it. */
export async function logIn(then = () => {}) {
  afterwards = then;
  const link = new URLSearchParams(location.hash.slice(1)).get("token");
  if (link) {
    history.replaceState(null, "", location.pathname);
    try {
      await send(link);
      return;
    } catch (error) {
      $("login-note").textContent = error.message;
    }
  }
  if (!dialog.open) dialog.showModal();
}
