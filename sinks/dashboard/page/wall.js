// All sources side by side, as large as the window allows.

import { hide, show } from "./pictures.js";
import { askToStop, restart } from "./sources.js";
import { ageTone, duration, isInTrouble, latency, lost, nextOf, number, reasonOf, stateOf } from "./words.js";

const GAP = 16;
const CAPTION = 84;
const NARROWEST = 260;
const ASPECT = 16 / 9;

export const dropsOf = (source) => Object.values(source.dropped).reduce((sum, count) => sum + count, 0);

/** Fills what a tile and the camera's page have in common. */
export function fill(root, source, age) {
  const [word, tone] = stateOf(source);
  const set = (selector, text) => {
    for (const element of root.querySelectorAll(selector)) {
      if (element.textContent !== text) element.textContent = text;
    }
  };
  set(".name", source.id);
  set(".state .word", word);
  root.querySelector(".state").dataset.tone = tone;
  set(".rate", source.emitted && source.state === "live" ? number(source.frames_per_s) : "–");
  set(".latency", latency(source));
  set(".lost", lost(source));
  const isOver = source.state === "ended" || source.state === "failed";
  set(".age", age === null || isOver ? "–" : duration(age));
  set(".drops", dropsOf(source).toLocaleString("en"));
  const stale = ageTone(source, age);
  root.querySelector(".age").dataset.tone = stale;
  const old = root.querySelector(".old");
  old.hidden = !stale || isInTrouble(source);
  old.dataset.tone = stale;
  if (!old.hidden) old.textContent = `Picture is ${duration(age)} old`;
  const trouble = root.querySelector(".trouble");
  trouble.hidden = !isInTrouble(source);
  trouble.dataset.tone = tone;
  set(".reason", reasonOf(source));
  set(".next", nextOf(source));
}

export class Wall {
  constructor(main) {
    main.replaceChildren(document.getElementById("wall-template").content.cloneNode(true));
    this.list = main.querySelector(".wall");
    this.nothing = main.querySelector(".nothing");
    this.tiles = new Map();
    this.resized = new ResizeObserver(() => this.arrange());
    this.resized.observe(main);
    this.main = main;
    document.title = "Tracklight";
  }

  update(sources, ageOf) {
    const ids = new Set(sources.map((source) => source.id));
    for (const [id, tile] of this.tiles) {
      if (ids.has(id)) continue;
      hide(tile.querySelector("canvas"));
      tile.remove();
      this.tiles.delete(id);
    }
    for (const source of sources) {
      const tile = this.tiles.get(source.id) || this.make(source.id);
      fill(tile, source, ageOf(source));
    }
    this.nothing.hidden = sources.length > 0;
    this.arrange();
  }

  make(id) {
    const tile = document.getElementById("tile-template").content.cloneNode(true).firstElementChild;
    tile.dataset.source = id;
    tile.querySelector("a").href = `#/camera/${encodeURIComponent(id)}`;
    const canvas = tile.querySelector("canvas");
    canvas.setAttribute("aria-label", `Live picture of ${id}`);
    tile.querySelector(".restart").addEventListener("click", () => restart(id).catch((error) => {
      tile.querySelector(".reason").textContent = error.message;
    }));
    tile.querySelector(".stop").addEventListener("click", () => askToStop(id));
    this.list.append(tile);
    this.tiles.set(id, tile);
    show(canvas, id);
    return tile;
  }

  /** The number of columns with the largest pictures. */
  arrange() {
    const count = this.tiles.size;
    const narrow = innerWidth < 640;
    const room = this.list.clientWidth;
    const height = innerHeight - this.list.getBoundingClientRect().top - scrollY - GAP;
    let best = { columns: 1, width: narrow ? room : 0 };
    for (let columns = 1; columns <= count && !narrow; columns++) {
      const rows = Math.ceil(count / columns);
      const widest = (room - (columns - 1) * GAP) / columns;
      const highest = (height - (rows - 1) * GAP) / rows - CAPTION;
      const width = Math.floor(Math.min(widest, highest * ASPECT));
      if (width > best.width) best = { columns, width };
    }
    if (!narrow && best.width < NARROWEST) {
      const columns = Math.max(Math.floor((room + GAP) / (NARROWEST + GAP)), 1);
      best = { columns, width: Math.floor((room - (columns - 1) * GAP) / columns) };
    }
    this.list.style.gridTemplateColumns = `repeat(${best.columns}, ${best.width}px)`;
  }

  event() {}

  close() {
    this.resized.disconnect();
    for (const tile of this.tiles.values()) hide(tile.querySelector("canvas"));
  }
}
