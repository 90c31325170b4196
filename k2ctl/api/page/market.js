// A symbol's price and volume as bars, and its newest trades with the proof that they are all there are.

import {$, attribute, colour, element, rows, say} from "./elements.js";
import {Chart} from "./chart.js";
import {UNKNOWN, aligned, clock, counted, short, whole} from "./format.js";

const STEPS_S = {"15s": 15, "1m": 60, "5m": 300, "15m": 900}, REACHES_S = {"15m": 900, "1h": 3600, "6h": 21600, "1d": 86400};
const VOLUME_SHARE = 0.24, TRADES = 12;
const price = value => value === null || value === undefined ? UNKNOWN : String(Number(value.toPrecision(12)));

export class Market {
  constructor() {
    const ohlc = name => ({label: name, colour: "none", format: price, of: {scale: "y", show: name === "close", width: 0, points: {show: false}}});
    this.step_s = 15;
    this.chart = new Chart($("chart-bars"), {
      title: "Price and volume", unit: "bars of 15 s", format: price, sentence: () => this.sentence(),
      series: [ohlc("open"), ohlc("high"), ohlc("low"), ohlc("close"), {label: "volume", colour: "none", format: whole, of: {scale: "volume", width: 0, points: {show: false}}}],
      scales: {y: {range: () => this.#prices()}, volume: {range: () => [0, Math.max(1, ...this.chart.data[5]) / VOLUME_SHARE]}},
      axes: [{scale: "y", values: (_, splits) => splits.map(at => at < this.lowest ? "" : price(at))},
        {scale: "volume", side: 1, size: 50, grid: {show: false}, values: (plot, splits) => splits.map(at => at > plot.scales.volume.max * VOLUME_SHARE * 1.05 ? "" : short(at))}],
      over: plot => this.#draw(plot),
    });
  }

  // bars: as the service gives them, oldest first; null when there was no answer.
  showBars(symbol, bars, reach, step, now_s) {
    const shown = (bars ?? []).filter(bar => bar.open !== null);
    this.step_s = STEPS_S[step];
    this.symbol = symbol;
    const columns = ["open", "high", "low", "close", "volume"].map(name => shown.map(bar => Number(bar[name])));
    say(this.chart.figure.querySelector("h3 small"), `${symbol}, bars of ${step.replace(/(\d+)s/, "$1 s").replace(/(\d+)m/, "$1 min")}`);
    this.chart.show([shown.map(bar => Date.parse(bar.bar_start) / 1000), ...columns], [now_s - REACHES_S[reach], now_s + this.step_s]);
    attribute(this.chart.figure, "data-empty", shown.length ? null : bars ? `No trades of ${symbol} in this time.` : "The service gave no bars.");
  }

  // event: of the service, with the newest trades of its symbol.
  showTrades(event) {
    const trades = event.trades ?? [], prices = aligned(trades.map(t => t.price)), quantities = aligned(trades.map(t => t.quantity));
    rows($("trades"), Array.from({length: TRADES}, (_, n) => {
      const t = trades[n];
      if (!t) return ["\u00a0", "", "", ""];
      return [t.timestamp.replace("Z", "").split("T").slice(t.timestamp.slice(0, 10) === new Date(event.at_us / 1000).toISOString().slice(0, 10) ? 1 : 0).join(" "),
        [prices[n], "r"], [quantities[n], "r"], [t.side, t.side === "BUY" ? "buy" : t.side === "SELL" ? "sell" : ""]];
    }));
    const proof = event.problem ? [event.problem, "bad"] : event.complete
      ? [`complete · ${counted(event.lake_rows, "row")} from the lake, ${whole(event.stream_rows)} from the stream · ${event.ms} ms`, "good"]
      : [`incomplete: ${(event.missing ?? []).join("; ")}`, "bad"];
    say($("proof"), proof[0]);
    attribute($("proof"), "class", proof[1]);
  }

  sentence() {
    const [times, open, high, low, close, volume] = this.chart.data, last = times.length - 1;
    if (last < 0) return `No trades of ${this.symbol ?? "a symbol"} in this time.`;
    const sold = volume.reduce((a, b) => a + b, 0);
    return `${this.symbol}: from ${price(open[0])} at ${clock(times[0] * 1e6)} to ${price(close[last])}, between ${price(Math.min(...low))} and ${price(Math.max(...high))}; ${whole(sold)} traded.`;
  }

  // Prices lie above the bars of volume.
  #prices() {
    const [, , highs, lows] = this.chart?.data ?? [];
    if (!highs?.length) return [0, 1];
    const high = Math.max(...highs), low = Math.min(...lows), room = Math.max(high - low, Math.abs(high) * 1e-4 || 1);
    this.lowest = low - room * 0.06;
    return [low - room * 0.06 - (room * 1.12) * VOLUME_SHARE * 1.3, high + room * 0.06];
  }

  #draw(plot) {
    const {ctx, bbox} = plot, {data} = this.chart ?? {}, ratio = devicePixelRatio;
    if (!data?.[0].length) return;
    const step = Math.abs(plot.valToPos(data[0][0] + this.step_s, "x", true) - plot.valToPos(data[0][0], "x", true));
    const wide = Math.max(ratio, Math.floor(step * 0.66)), line = Math.max(1, Math.round(ratio));
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    data[0].forEach((at, n) => {
      const [open, high, low, close] = [1, 2, 3, 4].map(k => plot.valToPos(data[k][n], "y", true));
      const middle = Math.round(plot.valToPos(at, "x", true) + step / 2), volume = plot.valToPos(data[5][n], "volume", true);
      ctx.fillStyle = colour(close <= open ? "buy" : "sell");
      ctx.fillRect(middle - Math.floor(line / 2), high, line, Math.max(line, low - high));
      ctx.fillRect(middle - wide / 2, Math.min(open, close), wide, Math.max(line, Math.abs(close - open)));
      ctx.globalAlpha = 0.45;
      ctx.fillRect(middle - wide / 2, volume, wide, bbox.top + bbox.height - volume);
      ctx.globalAlpha = 1;
    });
    ctx.restore();
  }
}
