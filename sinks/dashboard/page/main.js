// Which page is shown, and what the run says of itself every second.

import { ask, socket } from "./api.js";
import { Camera } from "./camera.js";
import { ageOfPicture } from "./pictures.js";
import { announce, begin } from "./sources.js";
import { Wall } from "./wall.js";
import { number, stateOf } from "./words.js";

const $ = (id) => document.getElementById(id);
let sources = [];
let toldMs = 0; // when the sources were told, on this page's clock
let page = null;
let ended = false;

/** Seconds since the newest result. It was told up to a second ago; a picture that came since then is newer. */
function ageOf(source) {
  if (source.age_s === null) return null;
  const told = source.age_s + (performance.now() - toldMs) / 1000;
  const picture = ageOfPicture(source.id);
  return picture === null ? told : Math.min(told, picture);
}

function summary() {
  const counts = new Map();
  for (const source of sources) {
    const [word] = stateOf(source);
    counts.set(word, (counts.get(word) || 0) + 1);
  }
  const rate = sources.filter((source) => source.state === "live").reduce((sum, source) => sum + source.frames_per_s, 0);
  const parts = [...counts].map(([word, count]) => `${count} ${word.toLowerCase()}`);
  if (rate) parts.push(`${number(rate)} frames/s`);
  return parts.join(" · ");
}

function take(told) {
  for (const source of told) {
    const before = sources.find((one) => one.id === source.id);
    if (before && before.state !== source.state) announce(`${source.id}: ${stateOf(source)[0]}`);
  }
  sources = told;
  toldMs = performance.now();
  show();
}

function show() {
  page.update(sources, ageOf);
  const text = summary();
  if ($("summary").textContent !== text) $("summary").textContent = text;
}

function route() {
  const match = location.hash.match(/^#\/camera\/(.+)$/);
  if (page) page.close();
  page = match ? new Camera($("main"), decodeURIComponent(match[1])) : new Wall($("main"));
  if (toldMs) show();
  scrollTo(0, 0);
}

function gone(isOpen, hasEnded) {
  $("gone").hidden = isOpen;
  ended = !isOpen && (ended || hasEnded);
  if (isOpen) $("gone").textContent = "";
  else $("gone").textContent = ended ? "The run has ended." : "Tracklight cannot be reached. Trying again…";
}

function hear(event) {
  const message = JSON.parse(event.data);
  if (message.type === "status") take(message.sources);
  if (message.type === "event") page.event(message.event);
}

begin(async () => take(await ask("/sources")));
addEventListener("hashchange", () => { route(); $("main").focus({ preventScroll: true }); });
addEventListener("keydown", (event) => {
  const busy = event.target.closest("input, dialog") || event.ctrlKey || event.metaKey || event.altKey;
  if (event.key === "Escape" && !busy && location.hash.startsWith("#/camera/")) location.hash = "#/";
});
route();
socket("/live", { message: hear, state: gone });
setInterval(() => { if (toldMs && !document.hidden) show(); }, 500);
