// The platform's history as four charts: the lag with thresholds and levels, the rates, what is not stored yet, memory.

import {$} from "./elements.js";
import {Chart, lines} from "./chart.js";
import {LEVELS, drawBands, stretches} from "./bands.js";
import {age, counted, percent, short, whole} from "./format.js";
import {spoken} from "./platform.js";

const LINEAR = 100; // lags below it are drawn linearly, above it by powers of ten
const one = (label, colour, of = {}) => ({label, colour, of});

export class PlatformCharts {
  constructor(history) {
    this.history = history;
    this.ladder = [];
    const common = {group: "platform", under: (plot, chart) => drawBands(plot, chart.data[0], this.levels ?? [], [])};
    this.lag = new Chart($("chart-lag"), {
      ...common, room: 30, title: "Lag", unit: "trades not read yet, by powers of ten", format: whole, series: [one("lag", "ink", {width: 2})],
      scales: {y: {distr: 4, asinh: LINEAR, range: (_, low, high) => [0, this.#top(high)]}},
      axes: [{filter: (_, splits) => splits, splits: (_, _at, low, high) => [0, ...[2, 3, 4, 5, 6, 7, 8, 9, 10].map(power => 10 ** power)].filter(at => at <= high), values: (_, splits) => splits.map(short)}],
      under: (plot, chart) => drawBands(plot, chart.data[0], this.levels ?? [], this.ladder.map(level => spoken(level.name))),
      over: plot => lines(plot, "y", this.#thresholds("lag", short)),
      name: (at, n) => common_name(at) + (this.levels?.[n] == null ? ", not seen" : ", " + spoken(this.ladder[this.levels[n]]?.name ?? "")),
      sentence: chart => this.#ofLag(chart),
    });
    this.rates = new Chart($("chart-rates"), {
      ...common, title: "Rates", unit: "trades per second", format: short, sentence: latest,
      series: [one("loaded", "dim", {dash: [5, 4]}), one("read", "blue"), one("committed", "teal")],
    });
    this.unstored = new Chart($("chart-unstored"), {
      ...common, title: "Not stored yet", unit: "trades", format: short, sentence: latest, series: [one("pending", "blue"), one("deferred", "orange")],
    });
    this.memory = new Chart($("chart-memory"), {
      ...common, title: "Memory", unit: "share of its limit", format: percent, sentence: latest, series: [one("memory", "blue")],
      scales: {y: {range: () => [0, 1]}}, axes: [{splits: () => [0, 0.25, 0.5, 0.75, 1], values: (_, splits) => splits.map(at => percent(at))}],
      over: plot => lines(plot, "y", this.#thresholds("memory", percent)),
    });
  }

  show(ladder, minutes, now_s = this.now_s) {
    if (!now_s) return;
    Object.assign(this, {ladder, now_s});
    const names = ["level_number", "lag_trades", "rate_loaded", "rate_in", "rate_committed", "pending", "outstanding", "memory_fraction"];
    const [times, levels, lag, loaded, read, committed, pending, deferred, memory] = this.history.columns(minutes, names);
    const span = [now_s - minutes * 60, now_s];
    this.levels = levels;
    this.lag.show([times, lag], span);
    this.rates.show([times, loaded, read, committed], span);
    this.unstored.show([times, pending, deferred], span);
    this.memory.show([times, memory], span);
  }

  // As much of the ladder is shown as reaches to the next threshold.
  #top(high) {
    const next = this.ladder.slice(1).find(level => level.lag > high)?.lag ?? high;
    return Math.max(1000, high * 1.5, next * 1.8);
  }

  #thresholds(name, format) {
    return this.ladder.slice(1).map((level, at) => ({value: level[name], label: `${spoken(level.name)} ≥ ${format(level[name])}`, name: LEVELS[at + 1]}));
  }

  #ofLag(chart) {
    const known = chart.data[1].filter(value => value !== null);
    if (!known.length) return "Nothing was seen in this time.";
    const worst = Math.max(...(this.levels ?? []).filter(level => level !== null)), holes = stretches(this.levels).filter(([level, first]) => level === null && first > 0).length;
    return `Now ${whole(known.at(-1))}, at most ${whole(known.reduce((a, b) => Math.max(a, b)))} in the last ${age(this.lag.span[1] - this.lag.span[0])}; the worst level was ${spoken(this.ladder[worst]?.name ?? "unknown")}.`
      + (holes ? ` ${counted(holes, "hole")}, in which nobody saw it.` : "");
  }
}

const common_name = at => new Date(at * 1000).toISOString().slice(11, 19);
const latest = chart => chart.last < 0 ? "Nothing was seen in this time." : "Now " + chart.series.map((series, n) => series.label + " " + chart.format(chart.data[n + 1][chart.last])).join(", ") + ".";
