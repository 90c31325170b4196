"use strict";
const $ = id => document.getElementById(id), lags = [], KEPT = 180;
const whole = n => n == null ? "–" : Math.round(n).toLocaleString("en");
const cell = (text, name) => { const td = document.createElement("td"); td.textContent = text; if (name) td.className = name; return td; };
function ladder(p) {
  const levels = p.ladder.length ? p.ladder : [{name: p.level}];
  $("ladder").replaceChildren(...levels.map((level, at) => {
    const li = document.createElement("li"), name = document.createElement("span"), lag = document.createElement("span");
    name.textContent = level.name; lag.textContent = at ? "≥ " + whole(level.lag) : "";
    li.className = "l" + at + (level.name === p.level ? " on" : ""); li.append(name, lag); return li; }));
  $("reason").textContent = p.level_reason;
}
function chart(p) {
  lags.push(p.lag_trades); if (lags.length > KEPT) lags.shift();
  const next = (p.ladder[p.level_number + 1] || {}).lag, top = Math.max(10, ...lags.map(v => v || 0)) * 1.15;
  const x = at => 600 * (KEPT - lags.length + at) / (KEPT - 1), y = v => 150 - 148 * v / top;
  const known = lags.map((v, at) => v == null ? null : x(at).toFixed(1) + "," + y(v).toFixed(1)).filter(v => v);
  const svg = (tag, set) => { const el = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const k in set) el.setAttribute(k, set[k]); return el; };
  const parts = [svg("polyline", {points: known.join(" "), fill: "none", stroke: "var(--ink)", "stroke-width": 2, "vector-effect": "non-scaling-stroke"})];
  if (next && next < top) parts.push(svg("line", {x1: 0, x2: 600, y1: y(next), y2: y(next), stroke: "var(--warn)", "stroke-dasharray": "4 4", "vector-effect": "non-scaling-stroke"}));
  $("chart").replaceChildren(...parts);
  $("scale").textContent = "now " + whole(p.lag_trades) + (next ? ", next level at " + whole(next) : "");
}
function rates(p, d) {
  const shown = [["loaded /s", p.rate_loaded], ["read /s", p.rate_in], ["committed /s", p.rate_committed], ["pending", p.pending],
    ["stored", p.stored], ["duplicates", p.duplicate], ["deferred", p.outstanding], ["lost", p.lost], ["in memory", d.tail_trades]];
  $("rates").replaceChildren(...shown.map(([name, value]) => {
    const box = document.createElement("div"), b = document.createElement("b"), span = document.createElement("span");
    b.textContent = whole(value); span.textContent = name; if (name === "lost" && value) b.className = "bad"; box.append(b, span); return box; }));
}
function trades(d) {
  $("trades").replaceChildren(...(d.trades || []).map(t => { const tr = document.createElement("tr");
    tr.append(cell(t.timestamp.replace("T", " ").replace("Z", "")), cell(t.price, "r"), cell(t.quantity, "r"), cell(t.side)); return tr; }));
  const proof = $("proof");
  if (d.problem) { proof.textContent = d.problem; proof.className = "bad"; return; }
  proof.className = d.complete ? "good" : "bad";
  proof.textContent = (d.complete ? "complete" : "incomplete: " + d.missing.join("; ")) + " · " + d.lake_rows + " from the lake, " + d.stream_rows + " from the stream · " + d.ms + " ms";
}
const say = (text, bad) => { $("state").textContent = text; $("state").className = bad ? "bad" : "dim"; };
function show(d) {
  const p = d.platform;
  say(d.tail_problem || "live, " + new Date(d.at_us / 1000).toISOString().slice(11, 19) + " UTC", d.tail_problem);
  if (p) { ladder(p); chart(p); rates(p, d); }
  if (wanted) trades(d);
}
// fetch and not EventSource, which cannot send a header: the key must not be in a URL.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const {value, done} = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) yield JSON.parse(part.slice("data: ".length));
  }
}
const KEY = "k2-key";
let running, wanted;
function ask(key) {
  sessionStorage.removeItem(KEY);
  $("door").hidden = false;
  $("refusal").textContent = key ? "This key does not open the service." : "";
  $("refusal").className = "bad";
  say("a key is needed"); $("key").focus();
}
async function connect(signal) { // whether it is worth while to try again
  const key = sessionStorage.getItem(KEY), query = wanted ? "?symbol=" + encodeURIComponent(wanted) : "";
  const answer = await fetch("v1/events" + query, {signal, headers: key ? {Authorization: "Bearer " + key} : {}});
  if (answer.status === 401) { ask(key); return false; }
  $("door").hidden = true;
  if (!answer.ok) { say((await answer.json()).detail, true); return answer.status >= 500; }
  for await (const d of events(answer.body)) show(d);
  return true;
}
async function follow() {
  if (running) running.abort();
  const {signal} = running = new AbortController();
  wanted = $("symbol").value.trim();
  while (!signal.aborted) {
    try { if (!await connect(signal)) return; }
    catch (error) { if (signal.aborted) return; say("the service does not answer", true); }
    await new Promise(done => setTimeout(done, 2000));
  }
}
$("door").addEventListener("submit", event => {
  event.preventDefault();
  const key = $("key").value.trim();
  $("key").value = $("refusal").textContent = "";
  if (!/^[\x21-\x7e]+$/.test(key)) { ask(true); return; }
  sessionStorage.setItem(KEY, key);
  follow();
});
$("symbol").addEventListener("change", follow);
follow();
