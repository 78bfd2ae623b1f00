// Live pictures: asked for one at a time over one WebSocket, so that a slow page gets fewer and never old ones.

import { socket } from "./api.js";

const shown = new Map(); // canvas -> {source, after, visible, waiting}
let connection = null;
let anything = false; // was shown yet

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const view = shown.get(entry.target);
    if (!view) continue;
    view.visible = entry.isIntersecting;
    request(entry.target);
  }
});

function sizeOf(canvas) {
  const width = canvas.clientWidth * Math.min(devicePixelRatio, 2);
  if (width <= 520) return "small";
  if (width <= 900) return "medium";
  return width <= 1500 ? "large" : "full";
}

function request(canvas) {
  const view = shown.get(canvas);
  if (!view || view.waiting || !view.visible || document.hidden) return;
  view.waiting = connection.send({ source: view.source, size: sizeOf(canvas), after: view.after });
}

async function arrive(event) {
  const length = new DataView(event.data).getUint32(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(event.data, 4, length)));
  const canvases = [...shown].filter(([, view]) => view.source === head.source).map(([canvas]) => canvas);
  if (!head.number) {
    for (const canvas of canvases) later(canvas);
    return;
  }
  const bitmap = await createImageBitmap(new Blob([new Uint8Array(event.data, 4 + length)], { type: "image/jpeg" }));
  for (const canvas of canvases) {
    const view = shown.get(canvas);
    if (!view) continue;
    if (canvas.width !== head.width || canvas.height !== head.height) {
      canvas.width = head.width;
      canvas.height = head.height;
    }
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    if (!anything) performance.mark("first-picture");
    anything = true;
    canvas.dataset.number = head.number;
    view.after = head.number;
    view.captured = performance.now() - head.age_ms;
    view.waiting = false;
    requestAnimationFrame(() => request(canvas));
  }
  bitmap.close();
}

/** The source has left the run; perhaps it comes back. */
function later(canvas) {
  setTimeout(() => {
    const view = shown.get(canvas);
    if (!view) return;
    view.waiting = false;
    view.after = 0;
    request(canvas);
  }, 1000);
}

function begin() {
  connection = socket("/views", {
    open() {
      for (const view of shown.values()) {
        view.waiting = false;
        view.after = 0;
      }
      for (const canvas of shown.keys()) request(canvas);
    },
    message: arrive,
  });
  document.addEventListener("visibilitychange", () => {
    for (const canvas of shown.keys()) request(canvas);
  });
}

/** Show a source's pictures on a canvas until `hide`. */
export function show(canvas, source) {
  if (!connection) begin();
  shown.set(canvas, { source, after: 0, visible: false, waiting: false });
  seen.observe(canvas);
}

/** Seconds since the newest picture that is shown of a source was taken; null where none is. */
export function ageOfPicture(source) {
  const taken = [...shown.values()].filter((view) => view.source === source && view.captured).map((view) => view.captured);
  return taken.length ? (performance.now() - Math.max(...taken)) / 1000 : null;
}

export function hide(canvas) {
  seen.unobserve(canvas);
  shown.delete(canvas);
}
