// The live page: each second an event, shown; the history once, and again after an absence; a symbol when one is chosen.

import {$} from "./elements.js";
import {Connection} from "./connection.js";
import {History} from "./history.js";
import {PlatformCharts} from "./platform_charts.js";
import {Market} from "./market.js";
import {SymbolSearch} from "./symbol.js";
import {showConsumers} from "./consumers.js";
import {showFigures, showMoves, showTrades, showVerdict} from "./platform.js";

const BARS_EVERY_S = 5;
const history = new History(), charts = new PlatformCharts(history), market = new Market();
let ladder = [], bars = {symbol: "", at_s: 0};

function show(event) {
  const p = event.platform, at_us = event.at_us;
  if (p?.ladder.length) ladder = p.ladder;
  history.add(at_us, p);
  showVerdict(event, ladder, history.since(p?.level, p?.ladder.length ? p.level_number : null), at_us);
  showFigures(p);
  showMoves(history.moves, at_us);
  showTrades(p);
  showConsumers(p, at_us);
  charts.show(ladder, chosen("span"), at_us / 1e6);
  if (event.symbol) {
    market.showTrades(event);
    if (at_us / 1e6 - bars.at_s >= BARS_EVERY_S) showBars(at_us / 1e6);
  }
}

const chosen = name => document.querySelector(`input[name=${name}]:checked`).value;

async function loadHistory() {
  const kept = await connection.get("v1/history?minutes=60");
  if (kept) history.load(kept);
}

async function showBars(now_s) {
  const symbol = connection.symbol, [reach, step] = chosen("reach").split("/");
  bars.at_s = now_s;
  if (!symbol) return;
  const answer = await connection.get(`v1/ohlcv?symbol=${encodeURIComponent(symbol)}&bar=${step}&window=${reach}`);
  if (symbol === connection.symbol) market.showBars(symbol, answer?.rows ?? null, reach, step, now_s);
}

async function find(prefix, limit) {
  const answer = await connection.get(`v1/symbols?prefix=${encodeURIComponent(prefix)}&limit=${limit}`);
  return answer?.symbols ?? [];
}

const connection = new Connection(show, loadHistory);
const search = new SymbolSearch(find, symbol => { bars.at_s = 0; connection.follow(symbol); });
$("span").addEventListener("change", () => charts.show(ladder, chosen("span")));
$("reach").addEventListener("change", () => showBars(Date.now() / 1000));
connection.follow("");
