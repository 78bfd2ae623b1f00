// The page of one source: its view, figures, charts, events and objects.

import { ask, sourcePath } from "./api.js";
import { Chart } from "./chart.js";
import { hide, show } from "./pictures.js";
import { askToStop, restart } from "./sources.js";
import { ALARMS, duration, eventText, eventTime } from "./words.js";
import { fill } from "./wall.js";

const EVERY_MS = 2000;
const MOST_EVENTS = 40;

function picture(address) {
  const frame = document.createElement("div");
  frame.className = "thumbnail";
  if (address) {
    const image = document.createElement("img");
    image.src = address;
    image.alt = "";
    image.loading = "lazy";
    frame.append(image);
  }
  return frame;
}

function lines(...texts) {
  const block = document.createElement("div");
  block.className = "lines";
  texts.forEach((text, index) => {
    const line = document.createElement(index ? "span" : "strong");
    line.textContent = text;
    block.append(line);
  });
  return block;
}

export class Camera {
  constructor(main, id) {
    main.replaceChildren(document.getElementById("camera-template").content.cloneNode(true));
    Object.assign(this, { id, main, root: main.querySelector(".camera"), source: null, events: new Map() });
    const find = (selector) => this.root.querySelector(selector);
    find(".name").textContent = id;
    this.canvas = find("canvas");
    this.canvas.setAttribute("aria-label", `Live picture of ${id}`);
    show(this.canvas, id);
    this.latency = new Chart(find("#latency-chart"), {
      series: [{ key: "latency_p95_ms", name: "p95", kind: "line" }, { key: "latency_p50_ms", name: "p50", kind: "area" }],
      unit: " ms", least: 10,
    });
    this.lost = new Chart(find("#lost-chart"), {
      series: [{ key: "ap50_lost_percent", name: "of AP50", kind: "area" }], unit: " %", least: 10,
    });
    this.objects = new Chart(find("#objects-chart"), {
      series: [{ key: "objects_max", name: "most", kind: "line" }, { key: "objects_mean", name: "average", kind: "area" }],
      least: 3, whole: true,
    });
    find(".restart").addEventListener("click", () => this.restart());
    find(".stop").addEventListener("click", () => askToStop(id));
    document.title = `${id} · Tracklight`;
    this.read();
    this.timer = setInterval(() => this.read(), EVERY_MS);
  }

  async restart() {
    const done = this.root.querySelector(".done");
    try {
      await restart(this.id);
      done.textContent = "It begins anew.";
      done.classList.remove("wrong");
    } catch (error) {
      done.textContent = error.message;
      done.classList.add("wrong");
    }
    done.hidden = false;
    setTimeout(() => { done.hidden = true; }, 6000);
  }

  async read() {
    if (document.hidden) return;
    const name = encodeURIComponent(this.id);
    try {
      const [history, tracks, events] = await Promise.all([
        ask(`/history/${name}`), ask(`${sourcePath(this.id)}/tracks?limit=18`),
        ask(`/events?source=${name}&limit=${MOST_EVENTS}`),
      ]);
      this.latency.set(history);
      this.lost.set(history);
      this.objects.set(history);
      this.showTracks(tracks);
      this.showEvents(events);
    } catch {
      // The header tells that the run has ended or the source is gone; here the last values stay.
    }
  }

  showTracks(tracks) {
    const list = this.root.querySelector(".tracks");
    list.replaceChildren(...tracks.map((track) => {
      const item = document.createElement("li");
      const seen = track.age_s < 1.5 ? "in view" : `${duration(track.age_s)} ago`;
      item.classList.toggle("now", track.age_s < 1.5);
      item.append(picture(track.thumbnail), lines(`${track.class_name} #${track.track_id}`, seen));
      return item;
    }));
    list.nextElementSibling.hidden = tracks.length > 0;
  }

  showEvents(events) {
    const list = this.root.querySelector(".events");
    const isLive = this.source ? this.source.is_live : true;
    list.replaceChildren(...events.map((event) => {
      const item = document.createElement("li");
      item.classList.toggle("alarm", ALARMS.has(event.kind));
      const time = document.createElement("time");
      time.textContent = eventTime(event, isLive);
      item.append(picture(event.thumbnail), lines(...eventText(event)), time);
      return item;
    }));
    list.nextElementSibling.hidden = events.length > 0;
  }

  update(sources, ageOf) {
    const source = sources.find((one) => one.id === this.id);
    this.source = source || null;
    if (!source) {
      location.hash = "#/";
      return;
    }
    fill(this.root, source, ageOf(source));
    this.root.querySelector(".streaming").hidden = source.ap50_lost === null;
    const size = source.width_px ? `${source.width_px} × ${source.height_px}` : "";
    const notes = Object.entries(source.counters).filter(([, count]) => count).map(([name, count]) =>
      `${count.toLocaleString("en")} ${name.replaceAll("_", " ")}`);
    this.root.querySelector(".facts").textContent = [size, ...notes].filter(Boolean).join(" · ");
    this.root.querySelector(".emitted").textContent = source.emitted.toLocaleString("en");
  }

  event(event) {
    if (event.source === this.id) this.read();
  }

  close() {
    clearInterval(this.timer);
    hide(this.canvas);
    this.latency.close();
    this.lost.close();
    this.objects.close();
  }
}
