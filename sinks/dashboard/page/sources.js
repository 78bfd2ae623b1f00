// What can be done to sources: add, restart, stop.

import { ask, sourcePath } from "./api.js";

const $ = (id) => document.getElementById(id);
let refresh = () => {};
let stopping = null;

function fail(place, error) {
  place.textContent = error.message;
  place.hidden = false;
}

async function add(event) {
  event.preventDefault();
  const address = $("address").value.trim();
  const wrong = $("add-error");
  wrong.hidden = true;
  if (!address) return fail(wrong, new Error("Type the address of a stream, a camera or a file."));
  $("add-confirm").disabled = true;
  try {
    const { id } = await ask("/sources", "POST", { address });
    $("add-dialog").close();
    announce(`${id} was added`);
    await refresh();
  } catch (error) {
    fail(wrong, error);
    $("address").focus();
  } finally {
    $("add-confirm").disabled = false;
  }
}

async function stop(event) {
  event.preventDefault();
  $("stop-confirm").disabled = true;
  try {
    // First, for its page would go on asking for what is gone.
    location.hash = "#/";
    await new Promise((done) => { setTimeout(done); });
    await ask(sourcePath(stopping), "DELETE");
    $("stop-dialog").close();
    announce(`${stopping} was stopped`);
    await refresh();
  } catch (error) {
    fail($("stop-error"), error);
  } finally {
    $("stop-confirm").disabled = false;
  }
}

/** Say something to people who cannot see the page. */
export function announce(text) {
  $("announcer").textContent = text;
}

export function askToStop(id) {
  stopping = id;
  $("stop-title").textContent = `Stop ${id}?`;
  $("stop-error").hidden = true;
  $("stop-dialog").showModal();
}

/** Open a source anew; nothing is lost by it, so nobody is asked. Throws an Error. */
export async function restart(id) {
  await ask(`${sourcePath(id)}/restart`, "POST");
  announce(`${id} begins anew`);
  await refresh();
}

/** Connect the dialogs. `afterwards` reads the sources again. */
export function begin(afterwards) {
  refresh = afterwards;
  $("add").addEventListener("click", () => {
    $("address").value = "";
    $("add-error").hidden = true;
    $("add-dialog").showModal();
  });
  $("add-form").addEventListener("submit", add);
  $("add-cancel").addEventListener("click", () => $("add-dialog").close());
  $("stop-form").addEventListener("submit", stop);
  $("stop-cancel").addEventListener("click", () => $("stop-dialog").close());
}
