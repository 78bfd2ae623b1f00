// Draws the rules of one source on a picture of it. Coordinates are fractions of the picture until they are shown.
"use strict";

const $ = (id) => document.getElementById(id);
const view = $("view");
const pencil = document.createElement("canvas").getContext("2d");

const NEAR_PX = 10; // how close on the screen counts as "on" a corner
const SNAP_PX = 8; // how close to the picture's edge a corner is put onto it
const DRAG_PX = 6; // less than this is a click, not a drag
const DOUBLE_MS = 400;
const MOST_ZOOM = 16;
const UNDO_STEPS = 200;
const KINDS = { zones: "zone", lines: "line" };

let facts = null; // what the server said of the source
let doc = { lines: [], zones: [], ground_plane: null };
let saved = ""; // the document as the file has it
let history = [];
let position = 0; // in the history
let tool = "select";
let chosen = null; // {kind: "zones" | "lines" | "plane", index, corner: number | null}
let draft = []; // corners of what is being drawn
let pointer = null; // where the mouse is, as a fraction
let gesture = null; // what the pressed mouse is doing
let lastClick = { time: 0, x: 0, y: 0 };
let frame = { x: 0, y: 0, zoom: 1 }; // left top corner of what is shown (px of the picture), and how large
let spaceHeld = false;
let told = []; // problems that the server told: {shape, text}
let checks = 0; // asked so far; only the newest answer counts
let finished = false;

// -- geometry ---------------------------------------------------------------------------------------------------------

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const toPx = ([x, y]) => [x * facts.width, y * facts.height];
const same = (a, b) => a[0] === b[0] && a[1] === b[1];

/** Which side of a-b the point c is on. */
const side = (a, b, c) => Math.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]));

const between = (a, b, c) =>
  Math.min(a[0], b[0]) <= c[0] && c[0] <= Math.max(a[0], b[0]) &&
  Math.min(a[1], b[1]) <= c[1] && c[1] <= Math.max(a[1], b[1]);

function meet(a, b, c, d) {
  const [abc, abd, cda, cdb] = [side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)];
  if (abc !== abd && cda !== cdb) return true;
  return (abc === 0 && between(a, b, c)) || (abd === 0 && between(a, b, d)) ||
    (cda === 0 && between(c, d, a)) || (cdb === 0 && between(c, d, b));
}

/** The first two sides of a polygon that cross, as numbers from 1, or null. */
function crossing(polygon) {
  const n = polygon.length;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      if (j === i + 1 || (i === 0 && j === n - 1)) continue;
      if (meet(polygon[i], polygon[(i + 1) % n], polygon[j], polygon[(j + 1) % n])) return [i + 1, j + 1];
    }
  }
  return null;
}

function area(polygon) {
  const px = polygon.map(toPx);
  return Math.abs(px.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = px[(i + 1) % px.length];
    return sum + x * nextY - nextX * y;
  }, 0)) / 2;
}

/** The 3x3 matrix, as 9 numbers, that takes points of the plan to the picture; null if there is none. Least squares. */
function homography(from, to) {
  const rows = [];
  from.forEach(([x, y], i) => {
    const [u, v] = to[i];
    rows.push([x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]);
  });
  const normal = Array.from({ length: 8 }, (_, r) =>
    Array.from({ length: 9 }, (_, c) => rows.reduce((sum, row) => sum + row[r] * row[c], 0)));
  for (let i = 0; i < 8; i++) {
    let best = i;
    for (let r = i + 1; r < 8; r++) if (Math.abs(normal[r][i]) > Math.abs(normal[best][i])) best = r;
    if (Math.abs(normal[best][i]) < 1e-12) return null;
    [normal[i], normal[best]] = [normal[best], normal[i]];
    for (let r = 0; r < 8; r++) {
      if (r === i) continue;
      const factor = normal[r][i] / normal[i][i];
      for (let c = i; c < 9; c++) normal[r][c] -= factor * normal[i][c];
    }
  }
  return [...normal.map((row, i) => row[8] / row[i]), 1];
}

function project(h, [x, y]) {
  const w = h[6] * x + h[7] * y + h[8];
  return w > 1e-9 ? [(h[0] * x + h[1] * y + h[2]) / w, (h[3] * x + h[4] * y + h[5]) / w] : null;
}

// -- the document -----------------------------------------------------------------------------------------------------

const corners = (item) => item.polygon || item.points || item.image;
const itemAt = (place) => (place.kind === "plane" ? doc.ground_plane : doc[place.kind][place.index]);
const colorOf = (kind, index) => {
  const colors = kind === "zones" ? facts.zone_colors : facts.line_colors;
  return colors[index % colors.length];
};
const keyOf = (kind, index) => (kind === "plane" ? "ground_plane" : `${kind}.${index}`);
const isDirty = () => JSON.stringify(doc) !== saved;

/** A step that can be undone: the document as it is now. `details`: as in render. */
function commit(details = "fresh") {
  const now = JSON.stringify(doc);
  if (now === history[position]) return render({ details });
  history = history.slice(Math.max(0, position + 1 - UNDO_STEPS), position + 1);
  history.push(now);
  position = history.length - 1;
  say("");
  check();
  render({ details });
}

function step(by) {
  if (draft.length) return cancelDraft();
  if (!(position + by in history)) return;
  position += by;
  doc = JSON.parse(history[position]);
  if (chosen && !itemAt(chosen)) chosen = null;
  if (chosen) chosen.corner = null;
  told = [];
  say("");
  check();
  render();
}

function freeName(kind) {
  const taken = new Set([...doc.zones, ...doc.lines].map((item) => item.name));
  const word = kind === "zones" ? "Zone" : "Line";
  for (let number = 1; ; number++) if (!taken.has(`${word} ${number}`)) return `${word} ${number}`;
}

function add(kind, points) {
  const name = freeName(kind);
  doc[kind].push(kind === "zones" ? { name, polygon: points } : { name, points });
  choose(kind, doc[kind].length - 1);
  setTool("select");
  commit();
  const field = document.querySelector("#details input");
  if (field) { field.focus({ preventScroll: true }); field.select(); }
}

function addPlane(points) {
  doc.ground_plane = { image: points, world_m: [[0, 0], [5, 0], [5, 5], [0, 5]] };
  choose("plane", 0);
  setTool("select");
  commit();
}

function choose(kind, index, corner = null) {
  chosen = kind === null ? null : { kind, index, corner };
}

function removeChosen() {
  if (!chosen) return;
  const item = itemAt(chosen);
  if (chosen.kind === "zones" && chosen.corner !== null && item.polygon.length > 3) {
    item.polygon.splice(chosen.corner, 1);
    chosen.corner = null;
  } else if (chosen.kind === "plane") {
    doc.ground_plane = null;
    chosen = null;
  } else {
    doc[chosen.kind].splice(chosen.index, 1);
    chosen = null;
  }
  told = []; // its numbers are no longer those of the shapes
  commit();
  view.focus({ preventScroll: true });
}

function flip() {
  if (chosen?.kind !== "lines") return;
  itemAt(chosen).points.reverse();
  commit();
}

/** What is wrong with a shape, in words; an empty text if nothing is. */
function problemOf(kind, index) {
  return plainProblem(kind, index) || told.find((problem) => problem.shape === keyOf(kind, index))?.text || "";
}

/** What can be seen to be wrong at once; the rest is the server's to say, which asks the same code as a run does. */
function plainProblem(kind, index) {
  const item = kind === "plane" ? doc.ground_plane : doc[kind][index];
  if (kind === "zones") {
    const pair = crossing(item.polygon);
    if (pair) return `Sides ${pair[0]} and ${pair[1]} cross. Move a corner until no sides cross.`;
    if (area(item.polygon) < 1) return "The zone has no area. Move a corner.";
  }
  if (kind === "lines" && same(...item.points)) return "Both ends are at one place. Move one of them.";
  if (kind !== "plane") {
    if (!item.name) return "A name is needed.";
    if ([...doc.zones, ...doc.lines].filter((other) => other.name === item.name).length > 1)
      return `The name “${item.name}” is used twice.`;
  }
  return "";
}

function everyShape() {
  const places = [];
  for (const kind of ["zones", "lines"]) doc[kind].forEach((_, index) => places.push({ kind, index }));
  if (doc.ground_plane) places.push({ kind: "plane", index: 0 });
  return places;
}

// -- the server -------------------------------------------------------------------------------------------------------

async function ask(name, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(name, options);
  } catch (error) {
    if (!finished) $("gone").hidden = false;
    throw error;
  }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

let waiting = 0;
function check() {
  clearTimeout(waiting);
  const number = ++checks;
  waiting = setTimeout(async () => {
    try {
      const { problems } = await ask("check", doc);
      if (number === checks) { told = problems; render({ details: "unless used" }); }
    } catch { /* The banner says that the server has gone; saving says anything else. */ }
  }, 250);
}

/** No check that waits or is under way has anything to say any more. */
function stopChecking() {
  clearTimeout(waiting);
  checks++;
}

async function save() {
  document.activeElement?.blur?.();
  const wrong = everyShape().find((place) => plainProblem(place.kind, place.index));
  if (wrong) {
    choose(wrong.kind, wrong.index);
    render();
    say("Not saved: see what is marked red", "bad");
    return false;
  }
  const sent = JSON.stringify(doc);
  stopChecking();
  // What an earlier attempt said must not stand there while this one is under way.
  say("Saving …");
  try {
    const { problems } = await ask("save", doc);
    told = problems;
    if (problems.length) {
      const [kind, index] = (problems[0].shape || "").split(".");
      if (kind === "ground_plane") choose("plane", 0);
      else if (kind) choose(kind, Number(index));
      render();
      say(problems[0].shape ? "Not saved: see what is marked red" : `Not saved: ${problems[0].text}`, "bad");
      return false;
    }
  } catch (error) {
    say(`Not saved: ${error.message}`, "bad");
    return false;
  }
  saved = sent;
  render();
  say(`Saved to ${facts.file}`, "good");
  return true;
}

async function done() {
  document.activeElement?.blur?.();
  if (isDirty()) {
    const answer = await question($("leave"));
    if (answer === "save" ? !(await save()) : answer !== "drop") return;
  }
  finished = true;
  stopChecking();
  try {
    await ask("done", {});
  } catch { /* It has ended already. */ }
  const anything = saved !== JSON.stringify({ lines: [], zones: [], ground_plane: null });
  $("finished-text").textContent = anything ? `The rules are in ${facts.file}.` : "No rules were drawn.";
  $("finished-run").hidden = $("command").hidden = !anything;
  $("command").textContent = facts.command;
  $("finished").addEventListener("cancel", (event) => event.preventDefault());
  $("finished").showModal();
}

function question(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

// -- drawing into the picture -----------------------------------------------------------------------------------------

function make(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Pixels of the picture per pixel of the screen. */
function scale() {
  const box = view.getBoundingClientRect();
  return 1 / Math.min(box.width * frame.zoom / facts.width, box.height * frame.zoom / facts.height);
}

const path = (points) => points.map((point) => toPx(point).join(",")).join(" ");

function chip(text, [x, y], color, { anchor = "middle", faint = false } = {}) {
  const unit = scale();
  pencil.font = "600 13px system-ui, sans-serif";
  const width = (pencil.measureText(text).width + 14) * unit;
  const height = 22 * unit;
  const left = clamp(anchor === "start" ? x : x - width / 2, 0, Math.max(0, facts.width - width));
  const top = clamp(y - height / 2, 0, Math.max(0, facts.height - height));
  const label = make("text", { x: left + 7 * unit, y: top + 15.5 * unit, "font-size": 13 * unit });
  label.textContent = text;
  return make("g", { class: faint ? "chip faint" : "chip" },
    make("rect", { x: left, y: top, width, height, rx: 3 * unit, fill: color }), label);
}

function handles(place, points, color) {
  const unit = scale();
  const found = [];
  if (place.kind === "zones") {
    points.forEach((point, i) => {
      const next = points[(i + 1) % points.length];
      const [x, y] = toPx([(point[0] + next[0]) / 2, (point[1] + next[1]) / 2]);
      found.push(make("circle", { class: "between", cx: x, cy: y, r: 4 * unit, "data-between": i, ...where(place) }));
    });
  }
  points.forEach((point, i) => {
    const [x, y] = toPx(point);
    const handle = make("circle", {
      class: chosen.corner === i ? "handle chosen" : "handle", cx: x, cy: y, r: 6.5 * unit, "data-corner": i,
      ...where(place),
    });
    found.push(make("circle", { cx: x, cy: y, r: 13 * unit, fill: "transparent", "data-corner": i, ...where(place) }));
    found.push(handle);
    if (place.kind === "plane") found.push(chip(String(i + 1), [x, y - 20 * unit], color));
  });
  return found;
}

const where = ({ kind, index }) => ({ "data-kind": kind, "data-index": index });
const isChosen = (kind, index) => chosen !== null && chosen.kind === kind && chosen.index === index;

function drawZone(zone, index) {
  const place = { kind: "zones", index };
  const bad = problemOf("zones", index);
  const color = bad ? "#ff3b30" : colorOf("zones", index);
  const points = path(zone.polygon);
  const group = make("g", { class: isChosen("zones", index) ? "shape selected" : "shape", ...where(place) },
    make("polygon", { class: "fill", points, fill: color, ...where(place) }),
    make("polygon", { class: "rim", points, ...where(place) }),
    make("polygon", { class: "stroke", points, stroke: color, ...where(place) }),
    make("polygon", { class: "grab", points, ...where(place) }));
  const [x, y] = toPx(zone.polygon.reduce((a, b) => (b[1] < a[1] ? b : a)));
  group.append(chip(`${bad ? "! " : ""}${zone.name || "?"}`, [x, y - 16 * scale()], color, { anchor: "start" }));
  if (isChosen("zones", index)) group.append(...handles(place, zone.polygon, color));
  return group;
}

function drawLine(line, index) {
  const place = { kind: "lines", index };
  const bad = problemOf("lines", index);
  const color = bad ? "#ff3b30" : colorOf("lines", index);
  const unit = scale();
  const [a, b] = line.points.map(toPx);
  const length = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1;
  const along = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
  const right = [-along[1], along[0]]; // y grows downwards, so this is the right hand of who walks from a to b
  const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const at = (forward, sideways) => [
    middle[0] + (along[0] * forward + right[0] * sideways) * unit,
    middle[1] + (along[1] * forward + right[1] * sideways) * unit,
  ];
  const ends = { x1: a[0], y1: a[1], x2: b[0], y2: b[1], ...where(place) };
  const [stemX, stemY] = at(0, 20);
  const stem = { x1: middle[0], y1: middle[1], x2: stemX, y2: stemY, ...where(place) };
  const head = [at(0, 34), at(8, 19), at(-8, 19)].map((point) => point.join(",")).join(" ");
  const group = make("g", { class: isChosen("lines", index) ? "shape selected" : "shape", ...where(place) },
    make("line", { class: "rim", ...ends }), make("line", { class: "rim", ...stem }),
    make("line", { class: "stroke", stroke: color, ...ends }), make("line", { class: "stroke", stroke: color, ...stem }),
    make("polygon", { class: "head", points: head, fill: color, ...where(place) }),
    make("line", { class: "grab", ...ends }));
  for (const [x, y] of [a, b]) group.append(make("circle", { class: "head", cx: x, cy: y, r: 5 * unit, fill: color, ...where(place) }));
  const labels = { in: line.label_in || "in", out: line.label_out || "out" };
  pencil.font = "600 13px system-ui, sans-serif";
  // Far enough that the label of either side does not lie on the line.
  const clear = (text) => (Math.abs(right[0]) * (pencil.measureText(text).width + 14) + Math.abs(right[1]) * 22) / 2;
  group.append(
    chip(labels.in, at(0, 38 + clear(labels.in)), color),
    chip(labels.out, at(0, -10 - clear(labels.out)), color, { faint: true }),
    chip(`${bad ? "! " : ""}${line.name || "?"}`, [a[0], a[1] - 18 * unit], color));
  if (isChosen("lines", index)) group.append(...handles(place, line.points, color));
  return group;
}

/** Lines of the ground, one metre (or a round number of them) apart, seen through the calibration. */
function drawGrid() {
  const plane = doc.ground_plane;
  if (!plane) return [];
  const parts = [];
  const shown = isChosen("plane", 0);
  const h = plane.world_m.length === plane.image.length ? homography(plane.world_m, plane.image.map(toPx)) : null;
  if (h && shown && !problemOf("plane", 0)) {
    const xs = plane.world_m.map((point) => point[0]);
    const ys = plane.world_m.map((point) => point[1]);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const longest = Math.max(right - left, high - low);
    const stride = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500].find((size) => longest / size <= 12) || longest / 12;
    const strand = (from, to) => {
      const points = Array.from({ length: 25 }, (_, i) =>
        project(h, [from[0] + (to[0] - from[0]) * i / 24, from[1] + (to[1] - from[1]) * i / 24]));
      const seen = points.filter((point) => point).map((point) => point.join(",")).join(" ");
      parts.push(make("polyline", { class: "grid-rim", points: seen }), make("polyline", { class: "grid-line", points: seen }));
    };
    const range = (from, to) => {
      const list = [];
      for (let n = Math.ceil(from / stride - 1e-9); n * stride <= to + 1e-9; n++) list.push(n * stride);
      return list;
    };
    for (const x of range(left, right)) strand([x, low], [x, high]);
    for (const y of range(low, high)) strand([left, y], [right, y]);
    const top = plane.image.reduce((a, b) => (b[1] < a[1] ? b : a));
    const [x, y] = toPx(top);
    parts.push(chip(`one square = ${stride} m`, [x, y - 44 * scale()], "#ffd54a"));
  }
  const points = path(plane.image);
  const place = { kind: "plane", index: 0 };
  const group = make("g", { class: shown ? "shape selected" : "shape", ...where(place) }, ...parts,
    make("polygon", { class: "rim", points, ...where(place) }),
    make("polygon", { class: "grid-edge", points, ...where(place) }),
    make("polygon", { class: "grab", points, ...where(place) }));
  if (shown) group.append(...handles(place, plane.image, "#ffd54a"));
  else group.append(chip("ground", toPx(plane.image[0]), "#ffd54a"));
  return [group];
}

function drawDraft() {
  if (!draft.length) return [];
  const unit = scale();
  let points = pointer ? [...draft, pointer] : draft;
  if (gesture?.kind === "sketch" && gesture.moved && tool === "zone") points = rectangle(draft[0], pointer);
  const closed = points.length > 2 && tool !== "line";
  const name = closed ? "polygon" : "polyline";
  const parts = [make(name, { class: "band-rim", points: path(points) }), make(name, { class: "band", points: path(points) })];
  draft.forEach((point, i) => {
    const [x, y] = toPx(point);
    const closes = i === 0 && draft.length > 2;
    parts.push(make("circle", { class: closes ? "handle chosen" : "handle", cx: x, cy: y, r: (closes ? 8 : 5) * unit }));
  });
  return parts;
}

const rectangle = (a, b) => [[a[0], a[1]], [b[0], a[1]], [b[0], b[1]], [a[0], b[1]]];

function hint() {
  if (tool === "zone") {
    if (!draft.length) return "Click to set corners, or drag a rectangle";
    if (draft.length < 3) return `${3 - draft.length} more corner${draft.length === 2 ? "" : "s"} at least`;
    return "Double click, Enter or the first corner closes the zone";
  }
  if (tool === "line") return draft.length ? "Click where the line ends" : "Click where the line begins, or drag it";
  if (tool === "plane") {
    const names = ["near left", "near right", "far right", "far left"];
    return `Click four points on the ground whose distances you know: ${names[draft.length]}`;
  }
  return "";
}

// -- the page around the picture --------------------------------------------------------------------------------------

function node(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** Show everything as it is now.
 * @param details what becomes of the form: made "fresh"; left "unless used" (the cursor is not in it); or "keep", for
 *   its own changes: making it anew while a click or the Tab key is on its way to another field would lose that. */
function render({ details = "fresh" } = {}) {
  view.setAttribute("viewBox", [frame.x, frame.y, facts.width / frame.zoom, facts.height / frame.zoom].join(" "));
  view.classList.toggle("drawing", tool !== "select");
  $("grid").replaceChildren(...drawGrid());
  const shapes = [...doc.zones.map(drawZone), ...doc.lines.map(drawLine)];
  // What is chosen lies on top, so that its handles can be reached.
  shapes.sort((a, b) => a.classList.contains("selected") - b.classList.contains("selected"));
  $("shapes").replaceChildren(...shapes);
  $("draft").replaceChildren(...drawDraft());
  const text = hint();
  if ($("hint").textContent !== text) $("hint").textContent = text;
  $("empty").hidden = everyShape().length > 0 || tool !== "select";
  for (const button of document.querySelectorAll("[data-tool]")) {
    if (button.hasAttribute("aria-pressed")) button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  }
  $("undo").disabled = position === 0;
  $("redo").disabled = position === history.length - 1;
  $("save").disabled = !isDirty();
  if (isDirty() && !$("state").classList.contains("bad")) say("Not saved yet");
  else if (!isDirty() && $("state").textContent === "Not saved yet") say("");
  renderList();
  const used = $("details").contains(document.activeElement);
  if (details === "fresh" || (details === "unless used" && !used)) renderDetails();
  else renderWrong();
}

function say(text, kind = "") {
  $("state").textContent = text;
  $("state").className = `state ${kind}`;
}

let listed = ""; // what the list shows
function renderList() {
  const shown = JSON.stringify(everyShape().map(({ kind, index }) =>
    [kind, itemAt({ kind, index }).name, problemOf(kind, index), isChosen(kind, index)]));
  if (shown !== listed) {
    listed = shown;
    fillList();
  }
  const general = told.filter((problem) => problem.shape === null).map((problem) => problem.text);
  const comments = facts.has_comments ? [`Comments in ${facts.file} are lost when it is saved.`] : [];
  const shared = facts.key !== facts.source_id ? [`These rules stand under “${facts.key}” and serve every source that fits it.`] : [];
  const notices = [...general, ...shared, ...comments];
  $("notice").hidden = !notices.length;
  $("notice").textContent = notices.join(" ");
}

function fillList() {
  const rows = everyShape().map(({ kind, index }) => {
    const item = kind === "plane" ? { name: "Ground plane" } : doc[kind][index];
    const color = kind === "plane" ? "#e0b000" : colorOf(kind, index);
    const mark = make("svg", { class: "mark", viewBox: "0 0 16 16", "aria-hidden": "true" });
    if (kind === "lines") mark.append(make("path", { d: "M2 13 14 3", stroke: color, "stroke-width": 3.5, "stroke-linecap": "round" }));
    else mark.append(make("rect", { x: 1, y: 2, width: 14, height: 12, rx: 2, fill: color, "fill-opacity": kind === "plane" ? .25 : .45, stroke: color, "stroke-width": 2 }));
    const button = node("button", { type: "button" }, mark, node("span", { className: "name" }, item.name || "(no name)"),
      node("span", { className: "kind" }, KINDS[kind] || ""));
    button.setAttribute("aria-current", String(isChosen(kind, index)));
    button.addEventListener("click", () => { setTool("select"); choose(kind, index); render(); });
    const row = node("li", {}, button);
    const wrong = problemOf(kind, index);
    // Of what is chosen, the form below says it.
    if (wrong && !isChosen(kind, index)) row.append(node("p", { className: "wrong" }, wrong));
    return row;
  });
  const before = [...$("list").querySelectorAll("button")].indexOf(document.activeElement);
  $("list").replaceChildren(...rows);
  if (before >= 0) $("list").querySelectorAll("button")[before]?.focus();
  $("list-empty").hidden = rows.length > 0;
}

/** A labelled field that changes one key of an object; empty means: no such key. */
function field(item, key, label, { about = "", placeholder = "", read = (text) => text, show = (value) => value, ...rest } = {}) {
  const id = `field-${key}`;
  const input = node("input", { id, type: "text", placeholder, autocomplete: "off", spellcheck: false, ...rest });
  input.value = item[key] === undefined || item[key] === null ? "" : show(item[key]);
  input.addEventListener("input", () => {
    const value = read(input.value);
    if (value === undefined) delete item[key];
    else item[key] = value;
    render({ details: "unless used" });
  });
  input.addEventListener("change", () => commit("keep"));
  const parts = [node("label", { htmlFor: id }, label), input];
  if (about) parts.push(node("p", { className: "about" }, about));
  return node("div", { className: "field" }, ...parts);
}

const orAbsent = (text) => (text.trim() === "" ? undefined : text);
const numberOrAbsent = (text) => (text.trim() === "" || !Number.isFinite(Number(text)) ? undefined : Number(text));
const classList = (text) => {
  const names = text.split(",").map((name) => name.trim()).filter((name) => name);
  return names.length ? names : undefined;
};

/** A sentence with a number in it: "Someone stays longer than [ 30 ] seconds". */
function amount(item, key, before, unit, placeholder, { min = 0, step: by = "any" } = {}) {
  const wrapped = field(item, key, before, { type: "number", min, step: by, placeholder, read: numberOrAbsent });
  wrapped.className = "amount";
  wrapped.append(node("span", { className: "unit" }, unit));
  return wrapped;
}

function group(title, ...children) {
  return node("div", { className: "group" }, node("h3", {}, title), ...children);
}

const classesField = (item) => field(item, "classes", "Classes", {
  placeholder: "all", about: "Separated by commas, such as: person, bicycle", read: classList, show: (names) => names.join(", "),
});

function command(text, action, className = "") {
  const button = node("button", { type: "button", className }, text);
  button.addEventListener("click", action);
  return button;
}

function zoneForm(zone) {
  return [
    field(zone, "name", "Name", { maxLength: 64 }),
    classesField(zone),
    group("Make an event when",
      amount(zone, "loiter_s", "someone stays longer than", "seconds", "off"),
      amount(zone, "crowd", "there are more than", "objects", "off", { min: 1, step: 1 }),
      amount(zone, "crowd_s", "… for at least", "seconds", "1"),
      amount(zone, "empty_s", "nobody is there for", "seconds", "off")),
    group("Counting visits",
      amount(zone, "min_visit_s", "leave out stays under", "seconds", "0"),
      amount(zone, "grace_s", "wait for lost objects", "seconds", "1")),
    ...(zone.motion ? [node("p", { className: "quiet" }, "Rules of speed and direction in the file are kept.")] : []),
    node("div", { className: "row" }, command("Delete zone", deleteShape, "danger")),
  ];
}

function lineForm(line) {
  return [
    field(line, "name", "Name", { maxLength: 64 }),
    classesField(line),
    node("div", { className: "pair" },
      field(line, "label_in", "With the arrow", { placeholder: "in", read: orAbsent, maxLength: 24 }),
      field(line, "label_out", "Against it", { placeholder: "out", read: orAbsent, maxLength: 24 })),
    node("div", { className: "row" }, command("Flip direction", flip), command("Delete line", deleteShape, "danger")),
  ];
}

function deleteShape() {
  if (chosen) chosen.corner = null;
  removeChosen();
}

function planeForm(plane) {
  const cells = [node("span", {}), node("span", { className: "number" }, "x, metres"), node("span", { className: "number" }, "y, metres")];
  plane.world_m.forEach((point, i) => {
    cells.push(node("span", { className: "number" }, String(i + 1)));
    for (const axis of [0, 1]) {
      const input = node("input", { type: "number", step: "any", value: String(point[axis]) });
      input.setAttribute("aria-label", `Point ${i + 1}, ${"xy"[axis]} in metres`);
      input.addEventListener("input", () => {
        const value = numberOrAbsent(input.value);
        if (value !== undefined) { point[axis] = value; render({ details: "unless used" }); }
      });
      input.addEventListener("change", () => commit("keep"));
      cells.push(input);
    }
  });
  const parts = [node("p", { className: "quiet" }, "With it, speeds are in km/h. The grid must lie flat on the ground in the picture.")];
  if (plane.world_m.length === 4) {
    const size = { width: plane.world_m[1][0], length: plane.world_m[2][1] };
    const apply = () => {
      const { width = 0, length = 0 } = size;
      plane.world_m = [[0, 0], [width, 0], [width, length], [0, length]];
    };
    const one = (key, label) => {
      const made = field(size, key, label, { type: "number", min: 0, step: "any", read: numberOrAbsent });
      made.querySelector("input").addEventListener("input", () => { apply(); render({ details: "unless used" }); });
      return made;
    };
    parts.push(group("The four points are a rectangle of", node("div", { className: "pair" },
      one("width", "Width (m)"), one("length", "Length (m)"))));
  }
  parts.push(group("Or each point by itself", node("div", { className: "metres" }, ...cells)));
  parts.push(node("div", { className: "row" }, command("Delete ground plane", deleteShape, "danger")));
  return parts;
}

function renderDetails() {
  const details = $("details");
  details.hidden = !chosen;
  if (!chosen) return details.replaceChildren();
  const active = details.contains(document.activeElement) ? document.activeElement.id : "";
  const item = itemAt(chosen);
  const form = { zones: zoneForm, lines: lineForm, plane: planeForm }[chosen.kind](item);
  details.replaceChildren(node("div", { className: "form" }, node("p", { className: "wrong-box", id: "wrong" }), ...form));
  if (active) $(active)?.focus();
  renderWrong();
}

function renderWrong() {
  const text = chosen ? problemOf(chosen.kind, chosen.index) : "";
  $("wrong").hidden = !text;
  $("wrong").textContent = text;
  const name = $("field-name");
  if (name) name.setAttribute("aria-invalid", String(/name/i.test(text)));
}

function setTool(name) {
  if (tool !== name) draft = [];
  tool = name;
  if (name !== "select") chosen = null;
}

// -- mouse and touch --------------------------------------------------------------------------------------------------

/** Where an event is, as a fraction of the picture, within it, on its edge if it is near. */
function place(event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(view.getScreenCTM().inverse());
  return [snap(point.x, facts.width, event.altKey), snap(point.y, facts.height, event.altKey)];
}

function snap(px, size, free) {
  const near = free ? 0 : SNAP_PX * scale();
  if (px <= near) return 0;
  if (px >= size - near) return 1;
  return px / size;
}

function screenDistance(a, b) {
  const [ax, ay] = toPx(a);
  const [bx, by] = toPx(b);
  return Math.hypot(ax - bx, ay - by) / scale();
}

view.addEventListener("pointerdown", (event) => {
  if (event.button > 1 || gesture) return;
  event.preventDefault();
  if (document.activeElement !== view) { document.activeElement?.blur?.(); view.focus({ preventScroll: true }); }
  view.setPointerCapture(event.pointerId);
  const data = event.target.dataset;
  const start = { x: event.clientX, y: event.clientY, moved: false, at: place(event) };
  const picked = data.kind ? { kind: data.kind, index: Number(data.index) } : null;
  if (event.button === 1 || spaceHeld) gesture = { kind: "pan", ...start, from: { ...frame } };
  else if (tool !== "select") gesture = { kind: "sketch", ...start, first: draft.length === 0 };
  else if (!picked) { chosen = null; gesture = { kind: "pan", ...start, from: { ...frame } }; }
  else if (data.between !== undefined) {
    const after = Number(data.between) + 1;
    itemAt(picked).polygon.splice(after, 0, start.at);
    choose(picked.kind, picked.index, after);
    gesture = { kind: "corner", ...start };
  } else if (data.corner !== undefined) {
    choose(picked.kind, picked.index, Number(data.corner));
    gesture = { kind: "corner", ...start };
  } else {
    choose(picked.kind, picked.index);
    gesture = { kind: "shape", ...start, from: structuredClone(corners(itemAt(picked))) };
  }
  if (gesture.kind === "sketch" && gesture.first) { draft = [start.at]; pointer = start.at; }
  view.classList.toggle("panning", gesture.kind === "pan" && (frame.zoom > 1 || event.button === 1 || spaceHeld));
  render();
});

view.addEventListener("pointermove", (event) => {
  pointer = place(event);
  if (!gesture) {
    if (draft.length) render({ details: "unless used" });
    return;
  }
  if (!gesture.moved && Math.hypot(event.clientX - gesture.x, event.clientY - gesture.y) < DRAG_PX) return;
  gesture.moved = true;
  if (gesture.kind === "pan") {
    const unit = scale();
    pan(gesture.from.x - (event.clientX - gesture.x) * unit, gesture.from.y - (event.clientY - gesture.y) * unit);
  } else if (gesture.kind === "corner") {
    corners(itemAt(chosen))[chosen.corner] = pointer;
  } else if (gesture.kind === "shape") {
    moveTo(gesture.from, pointer[0] - gesture.at[0], pointer[1] - gesture.at[1]);
  }
  render({ details: "unless used" });
});

view.addEventListener("pointerup", (event) => {
  if (!gesture) return;
  pointer = place(event);
  const ended = gesture;
  gesture = null;
  view.classList.remove("panning");
  if (ended.kind === "sketch") sketch(ended, event);
  else if (ended.kind !== "pan") commit();
  else render();
});

view.addEventListener("pointercancel", () => {
  if (gesture && gesture.kind !== "pan" && gesture.kind !== "sketch") doc = JSON.parse(history[position]);
  gesture = null;
  render();
});

view.addEventListener("pointerleave", () => {
  if (!gesture) { pointer = null; if (draft.length) render({ details: "unless used" }); }
});

/** A click or a drag with a drawing tool has ended. */
function sketch(ended, event) {
  if (ended.first && ended.moved && tool === "line") return add("lines", [draft[0], pointer]);
  if (ended.first && ended.moved && tool === "zone") {
    const points = rectangle(draft[0], pointer);
    return area(points) >= 16 ? add("zones", points) : cancelDraft();
  }
  const double = event.timeStamp - lastClick.time < DOUBLE_MS &&
    Math.hypot(event.clientX - lastClick.x, event.clientY - lastClick.y) < DRAG_PX;
  lastClick = { time: event.timeStamp, x: event.clientX, y: event.clientY };
  if (!ended.first) {
    if (tool === "zone" && (double || screenDistance(draft[0], pointer) < NEAR_PX)) return closeDraft();
    if (!double) draft.push(pointer);
  }
  if (tool === "line" && draft.length === 2) return add("lines", draft);
  if (tool === "plane" && draft.length === 4) return addPlane(draft);
  return render();
}

function closeDraft() {
  if (tool === "zone" && draft.length >= 3) add("zones", draft);
  else render();
}

function cancelDraft() {
  draft = [];
  render();
}

function moveTo(from, dx, dy) {
  const xs = from.map((point) => point[0]);
  const ys = from.map((point) => point[1]);
  const right = clamp(dx, -Math.min(...xs), 1 - Math.max(...xs));
  const down = clamp(dy, -Math.min(...ys), 1 - Math.max(...ys));
  const points = corners(itemAt(chosen));
  from.forEach(([x, y], i) => { points[i] = [clamp(x + right, 0, 1), clamp(y + down, 0, 1)]; });
}

function nudge(x, y) {
  if (!chosen) return;
  const points = corners(itemAt(chosen));
  const [dx, dy] = [x / facts.width, y / facts.height];
  if (chosen.corner === null) moveTo(structuredClone(points), dx, dy);
  else points[chosen.corner] = [clamp(points[chosen.corner][0] + dx, 0, 1), clamp(points[chosen.corner][1] + dy, 0, 1)];
  commit();
}

// -- zoom -------------------------------------------------------------------------------------------------------------

function pan(x, y) {
  frame.x = clamp(x, 0, facts.width * (1 - 1 / frame.zoom));
  frame.y = clamp(y, 0, facts.height * (1 - 1 / frame.zoom));
}

function zoomBy(factor, at = [frame.x + facts.width / frame.zoom / 2, frame.y + facts.height / frame.zoom / 2]) {
  const zoom = clamp(frame.zoom * factor, 1, MOST_ZOOM);
  const ratio = frame.zoom / zoom;
  const [x, y] = [at[0] - (at[0] - frame.x) * ratio, at[1] - (at[1] - frame.y) * ratio];
  frame.zoom = zoom;
  pan(x, y);
  render({ details: "unless used" });
}

view.addEventListener("wheel", (event) => {
  event.preventDefault();
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(view.getScreenCTM().inverse());
  const amountPx = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 30 : event.deltaY;
  zoomBy(Math.exp(-clamp(amountPx, -240, 240) / (event.ctrlKey ? 120 : 480)), [point.x, point.y]);
}, { passive: false });

// -- keys -------------------------------------------------------------------------------------------------------------

const TOOL_KEYS = { v: "select", z: "zone", l: "line", g: "plane" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || !facts) return;
  const typing = event.target.matches("input");
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && key === "s") { event.preventDefault(); save(); return; }
  if (typing) {
    if (event.key === "Enter" || event.key === "Escape") { event.preventDefault(); view.focus({ preventScroll: true }); }
    return;
  }
  if (event.ctrlKey || event.metaKey) {
    if (key === "z" || key === "y") { event.preventDefault(); step(key === "y" || event.shiftKey ? 1 : -1); }
    return;
  }
  if (event.altKey) return;
  const onButton = event.target.matches("button");
  if (event.key in ARROWS && !onButton) {
    event.preventDefault();
    const [x, y] = ARROWS[event.key];
    nudge(x * (event.shiftKey ? 10 : 1), y * (event.shiftKey ? 10 : 1));
  } else if (event.key === " " && !onButton) { event.preventDefault(); spaceHeld = true; }
  else if (event.key === "Enter" && !onButton) { event.preventDefault(); enter(); }
  else if (event.key === "Escape") escape();
  else if (event.key === "Backspace" && draft.length) { event.preventDefault(); draft.pop(); render(); }
  else if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); removeChosen(); }
  else if (key in TOOL_KEYS) { setTool(TOOL_KEYS[key]); render(); }
  else if (key === "f") flip();
  else if (key === "+" || key === "=") zoomBy(1.4);
  else if (key === "-") zoomBy(1 / 1.4);
  else if (key === "0") zoomBy(1 / MOST_ZOOM);
  else if (key === "?") $("keys").showModal();
});

document.addEventListener("keyup", (event) => { if (event.key === " ") spaceHeld = false; });
window.addEventListener("blur", () => { spaceHeld = false; });

function enter() {
  if (draft.length >= 3) return closeDraft();
  if (draft.length) return undefined;
  // Without a mouse: a shape in the middle, to be moved with the arrow keys.
  if (tool === "zone") return add("zones", rectangle([0.35, 0.35], [0.65, 0.65]));
  if (tool === "line") return add("lines", [[0.3, 0.5], [0.7, 0.5]]);
  if (tool === "plane") return addPlane([[0.3, 0.8], [0.7, 0.8], [0.6, 0.55], [0.4, 0.55]]);
  return undefined;
}

function escape() {
  if (draft.length) cancelDraft();
  else if (tool !== "select") setTool("select");
  else choose(null);
  render();
}

// -- beginning --------------------------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-tool]")) {
  button.addEventListener("click", () => { setTool(button.dataset.tool); render(); view.focus({ preventScroll: true }); });
}
$("undo").addEventListener("click", () => step(-1));
$("redo").addEventListener("click", () => step(1));
$("save").addEventListener("click", save);
$("done").addEventListener("click", done);
$("help").addEventListener("click", () => $("keys").showModal());
$("zoom-in").addEventListener("click", () => zoomBy(1.4));
$("zoom-out").addEventListener("click", () => zoomBy(1 / 1.4));
$("zoom-fit").addEventListener("click", () => zoomBy(1 / MOST_ZOOM));
window.addEventListener("beforeunload", (event) => { if (!finished && facts && isDirty()) event.preventDefault(); });
new ResizeObserver(() => { if (facts) render({ details: "unless used" }); }).observe(view);

async function begin() {
  try {
    facts = await ask("rules.json");
  } catch (error) {
    say(error.message, "bad");
    return;
  }
  doc = facts.rules;
  told = facts.problems;
  saved = JSON.stringify(doc);
  history = [saved];
  $("source-name").textContent = facts.source_id;
  document.title = `${facts.source_id}: zones and lines`;
  const time = facts.is_live ? "live" : facts.at_s === null ? "" : `at ${facts.at_s.toFixed(2)} s`;
  $("source-facts").textContent = [`${facts.width} × ${facts.height} px`, time, `writes ${facts.file}`].filter((text) => text).join("  ·  ");
  $("snapshot").setAttribute("width", facts.width);
  $("snapshot").setAttribute("height", facts.height);
  render();
}

begin();
