// A figure with a chart over time: axes with units, values under the pointer or by arrow keys, and all of it as a table.

import {attribute, colour, element, rows, say} from "./elements.js";
import {clock} from "./format.js";

const TABLE_ROWS = 12, FONT = "12px system-ui, sans-serif", {uPlot} = window;
const seconds = at => clock(at * 1e6);

export class Chart {
  // unit: of all series. series: {label, colour, format, of}; `of` is what uPlot wants of it besides.
  // under, over: draw on the canvas below and above the lines. room: above the chart, in pixels. scales, axes: of uPlot, where they are not the usual ones.
  constructor(figure, {title, unit, series, format, scales, axes, under, over, group, sentence, room = 10, name = seconds}) {
    Object.assign(this, {figure, title, unit, series, format, sentence, name, data: [[], ...series.map(() => [])], span: [0, 1]});
    this.#furnish();
    this.plot = new uPlot({
      width: 300, height: 100, legend: {show: false}, padding: [room, 22, 0, 0],
      tzDate: at => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      cursor: {y: false, drag: {x: false, y: false}, points: {size: 7}, ...(group ? {sync: {key: group}} : {})},
      scales: {x: {range: () => this.span}, ...(scales ?? {y: {range: (_, low, high) => [0, Math.max(1, high) * 1.1]}})},
      axes: [axis({space: 70, size: 30, values: (_, splits, _at, _space, step) => splits.map(at => seconds(at).slice(0, step < 60 ? 8 : 5))}),
        ...(axes ?? [axis({values: (_, splits) => splits.map(value => format(value))})]).map(axis)],
      series: [{}, ...series.map(one => ({stroke: () => colour(one.colour), width: 1.75, points: {show: one => false}, ...one.of}))],
      hooks: {drawClear: [plot => under?.(plot, this)], draw: [plot => over?.(plot, this)], setCursor: [() => this.#read()]},
    }, this.data, this.canvas);
    new ResizeObserver(() => this.plot.setSize({width: this.canvas.clientWidth, height: this.canvas.clientHeight})).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.plot.redraw());
  }

  // data: times in seconds, then a column for each series. span: what is shown, from and to.
  show(data, span) {
    Object.assign(this, {data, span});
    this.plot.setData(data);
    this.#read();
    if (this.details.open) this.#tabulate();
    attribute(this.canvas, "aria-label", `${this.title}, ${this.unit}. ${this.sentence(this)} Arrow keys read its values.`);
  }

  // The last row that has anything.
  get last() {
    for (let at = this.data[0].length - 1; at >= 0; at--) if (this.data.some((column, n) => n && column[at] !== null)) return at;
    return -1;
  }

  #furnish() {
    this.when = element("span", {class: "when dim"});
    this.keys = this.series.map(one => element("b"));
    this.canvas = element("div", {class: "canvas", tabindex: 0, role: "slider", "aria-orientation": "horizontal",
      "aria-valuemin": 0, "aria-valuemax": 0, "aria-valuenow": 0, "aria-valuetext": "no values yet", "aria-label": this.title});
    this.table = element("tbody");
    this.details = element("details", {}, element("summary", {}, "As a table"),
      element("table", {}, element("thead", {}, element("tr", {}, ...["time (UTC)", ...this.series.map(one => one.label)].map((name, at) =>
        element("th", {scope: "col", class: at ? "r" : null}, name)))), this.table));
    this.figure.append(
      element("figcaption", {}, element("h3", {}, this.title, " ", element("small", {}, this.unit)), this.when,
        element("div", {class: "keys"}, ...this.series.map((one, at) => element("span", {class: "key " + one.colour}, one.label + " ", this.keys[at])))),
      this.canvas, this.details);
    this.details.addEventListener("toggle", () => this.#tabulate());
    this.canvas.addEventListener("keydown", event => this.#move(event));
    this.canvas.addEventListener("blur", () => this.plot.setCursor({left: -10, top: -10}));
  }

  // The values where the cursor is, else the last ones.
  #read() {
    const pointed = this.plot?.cursor.idx ?? null, at = pointed ?? this.last;
    this.series.forEach((one, n) => say(this.keys[n], (one.format ?? this.format)(this.data[n + 1][at])));
    say(this.when, pointed === null ? "" : this.name(this.data[0][at], at));
  }

  #move(event) {
    const by = {ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -1e9, End: 1e9}[event.key];
    if (event.key === "Escape") this.plot.setCursor({left: -10, top: -10});
    if (by === undefined || this.last < 0) return;
    event.preventDefault();
    const times = this.data[0], first = Math.max(0, times.findIndex(at => at >= this.span[0]));
    const at = Math.min(this.last, Math.max(first, (this.plot.cursor.idx ?? this.last + (by < 0 ? 0 : -by)) + by));
    this.plot.setCursor({left: this.plot.valToPos(times[at], "x"), top: 1});
    attribute(this.canvas, "aria-valuemax", times.length - 1);
    attribute(this.canvas, "aria-valuenow", at);
    attribute(this.canvas, "aria-valuetext", [this.name(times[at], at), ...this.series.map((one, n) =>
      one.label + " " + (one.format ?? this.format)(this.data[n + 1][at]))].join(", "));
  }

  #tabulate() {
    const from = this.data[0].findIndex(at => at >= this.span[0]), count = this.last - from + 1;
    const shown = Math.min(TABLE_ROWS, Math.max(0, from < 0 ? 0 : count));
    rows(this.table, Array.from({length: shown}, (_, n) => {
      const at = this.last - Math.round(n * (count - 1) / Math.max(1, shown - 1));
      return [seconds(this.data[0][at]), ...this.series.map((one, m) => [(one.format ?? this.format)(this.data[m + 1][at]), "r"])];
    }));
  }
}

function axis(own) {
  return {stroke: () => colour("dim"), font: FONT, size: 58, gap: 6, space: 34, ticks: {show: false},
    grid: {stroke: () => colour("grid"), width: 1}, ...own};
}

// A dashed line across the chart with its name at the right end; names that would lie on each other are left out.
export function lines(plot, scale, thresholds) {
  const {left, top, width, height} = plot.bbox, {ctx} = plot, ratio = devicePixelRatio;
  let free = Infinity;
  ctx.save();
  ctx.font = 11 * ratio + "px system-ui, sans-serif";
  Object.assign(ctx, {textAlign: "right", textBaseline: "alphabetic"});
  ctx.lineWidth = ratio;
  ctx.setLineDash([4 * ratio, 4 * ratio]);
  for (const {value, label, name} of thresholds) {
    const y = plot.valToPos(value, scale, true);
    if (y < top || y > top + height) continue;
    ctx.strokeStyle = ctx.fillStyle = colour(name);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    if (free - y < 13 * ratio) continue;
    free = y;
    Object.assign(ctx, {strokeStyle: colour("card"), lineWidth: 4 * ratio});
    ctx.setLineDash([]);
    ctx.strokeText(label, left + width - 4 * ratio, y + 4 * ratio);
    ctx.fillText(label, left + width - 4 * ratio, y + 4 * ratio);
    Object.assign(ctx, {lineWidth: ratio});
    ctx.setLineDash([4 * ratio, 4 * ratio]);
  }
  ctx.restore();
}
