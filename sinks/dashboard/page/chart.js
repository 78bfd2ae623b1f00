// Small charts of the last minutes, as SVG.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 168;
const EDGE = { left: 44, right: 10, top: 10, bottom: 24 };
const SHORTEST_S = 120;
const LONGEST_S = 900;

function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Round values from 0 to at least `most`, four at most. */
function ticks(most) {
  const rough = Math.max(most, 1e-9) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
  const values = [];
  for (let value = 0; value < most + step * 0.999; value += step) values.push(Number(value.toPrecision(6)));
  return values;
}

const ago = (seconds) => (seconds === 0 ? "now" : `${Math.round(seconds / 60)} min ago`);

export class Chart {
  /**
   * place: an element. series: [{key, name, kind: "line" | "area"}], drawn in this order.
   * least: the scale reaches at least to this. whole: the values are whole numbers.
   */
  constructor(place, { series, unit = "", least = 1, whole = false }) {
    Object.assign(this, { place, series, unit, least, whole, history: null });
    this.legend = document.createElement("p");
    this.legend.className = "legend";
    this.hole = document.createElement("div");
    place.replaceChildren(this.legend, this.hole);
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(place);
    this.hole.addEventListener("pointermove", (event) => this.point(event));
    this.hole.addEventListener("pointerleave", () => this.point(null));
  }

  set(history) {
    this.history = history;
    this.draw();
  }

  draw() {
    if (!this.history) return;
    const { steps, step_s: stepS } = this.history;
    const width = Math.max(this.place.clientWidth, 200);
    const oldest = steps.length ? steps[0].age_s : 0;
    const span = Math.min(Math.max(Math.ceil(oldest / 60) * 60, SHORTEST_S), LONGEST_S);
    const most = Math.max(this.least, ...steps.flatMap((step) => this.series.map((one) => step[one.key])));
    let marks = ticks(most);
    if (this.whole) marks = marks.filter(Number.isInteger);
    const top = marks[marks.length - 1];
    this.x = (age) => EDGE.left + (1 - Math.max(age - stepS / 2, 0) / span) * (width - EDGE.left - EDGE.right);
    this.y = (value) => EDGE.top + (1 - value / top) * (HEIGHT - EDGE.top - EDGE.bottom);
    const svg = element("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img" });
    svg.setAttribute("aria-label", this.text());
    for (const value of marks) {
      const y = this.y(value);
      svg.append(
        element("line", { class: "rule", x1: EDGE.left, x2: width - EDGE.right, y1: y, y2: y }),
        element("text", { class: "mark", x: EDGE.left - 8, y: y + 4, "text-anchor": "end" }, value.toLocaleString("en")),
      );
    }
    for (const age of [span, span / 2, 0]) {
      const anchor = age === span ? "start" : age === 0 ? "end" : "middle";
      const x = EDGE.left + (1 - age / span) * (width - EDGE.left - EDGE.right);
      svg.append(element("text", { class: "mark", x, y: HEIGHT - 4, "text-anchor": anchor }, ago(age)));
    }
    this.series.forEach((one, index) => this.trace(svg, one, index, stepS));
    this.cursor = element("line", { class: "cursor", y1: EDGE.top, y2: HEIGHT - EDGE.bottom, visibility: "hidden" });
    svg.append(this.cursor);
    this.hole.replaceChildren(svg);
    this.tell(steps[steps.length - 1]);
  }

  /** One series, with gaps where there were no results. */
  trace(svg, one, index, stepS) {
    const runs = [];
    let last = null;
    for (const step of this.history.steps) {
      if (!last || last.age_s - step.age_s > stepS * 1.5) runs.push([]);
      runs[runs.length - 1].push(step);
      last = step;
    }
    for (const run of runs) {
      const points = run.map((step) => `${this.x(step.age_s).toFixed(1)},${this.y(step[one.key]).toFixed(1)}`);
      if (one.kind === "area") {
        const [first, final] = [this.x(run[0].age_s).toFixed(1), this.x(run[run.length - 1].age_s).toFixed(1)];
        const base = this.y(0).toFixed(1);
        svg.append(element("polygon", {
          class: `area s${index}`, points: `${first},${base} ${points.join(" ")} ${final},${base}`,
        }));
      }
      svg.append(points.length === 1
        ? element("circle", { class: `alone s${index}`, cx: points[0].split(",")[0], cy: points[0].split(",")[1], r: 2.5 })
        : element("polyline", { class: `trace s${index}`, points: points.join(" ") }));
    }
  }

  point(event) {
    const steps = this.history ? this.history.steps : [];
    if (!steps.length || !this.cursor) return;
    if (!event) {
      this.cursor.setAttribute("visibility", "hidden");
      this.tell(steps[steps.length - 1]);
      return;
    }
    const x = event.clientX - this.hole.getBoundingClientRect().left;
    const near = steps.reduce((a, b) => (Math.abs(this.x(b.age_s) - x) < Math.abs(this.x(a.age_s) - x) ? b : a));
    this.cursor.setAttribute("x1", this.x(near.age_s));
    this.cursor.setAttribute("x2", this.x(near.age_s));
    this.cursor.setAttribute("visibility", "visible");
    this.tell(near);
  }

  /** The legend, with the values of one step. */
  tell(step) {
    this.legend.replaceChildren(...this.series.map((one, index) => {
      const part = document.createElement("span");
      part.className = `key s${index}`;
      const value = document.createElement("b");
      value.textContent = step ? `${step[one.key].toLocaleString("en", { maximumFractionDigits: 1 })}${this.unit}` : "–";
      part.append(`${one.name} `, value);
      return part;
    }));
  }

  text() {
    const last = this.history.steps[this.history.steps.length - 1];
    if (!last) return "No results in the last 15 minutes";
    return this.series.map((one) => `${one.name}: ${last[one.key]}${this.unit} now`).join(", ");
  }

  close() {
    this.resized.disconnect();
  }
}
