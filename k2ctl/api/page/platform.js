// The platform: how it is, since when, why, what to do; its figures, its levels' changes, and where every trade is.

import {$, attribute, element, keyed, rows, say} from "./elements.js";
import {LEVELS} from "./bands.js";
import {UNKNOWN, age, clock, counted, duration, percent, perSecond, short, size, whole} from "./format.js";

const PRIORITIES = ["CRITICAL", "HIGH", "NORMAL", "LOW"];
const DONE = {process: "stored at once", spill: "spilled to disk", shed: "left in Kafka"};
export const spoken = name => name.replace("_", " ");

let announced = null;

// What the first three seconds are for.
export function showVerdict({platform: p, platform_problem, runbook: advice}, ladder, since, now_us) {
  const known = Boolean(p?.ladder.length), number = known ? p.level_number : null;
  attribute(document.documentElement, "data-level", known ? LEVELS[number] : "unknown");
  say($("level"), known ? spoken(p.level) : "UNKNOWN");
  const ago = since && age((now_us - since.at_us) / 1e6);
  say($("since"), since ? `since ${since.whole ? "" : "at least "}${clock(since.at_us, now_us)} UTC, for ${ago}` : "\u00a0");
  say($("why"), !p ? platform_problem : number === 0 ? "Every trade is stored as it comes." : p.level_reason);
  say($("handling"), known ? handling(p) : "Trades in Kafka wait for a consumer; queries still read them from there.");
  document.title = (known ? spoken(p.level) : "UNKNOWN") + " · K2";
  showAdvice(advice, number, now_us);
  showLadder(ladder, number);
  if (!p) return; // a service that has just begun has not looked yet
  const now = number ?? -1;
  if (announced !== null && announced !== now) say($("news"), known ? `Level ${spoken(p.level)}. ${number ? p.level_reason : ""}` : "No consumer reports.");
  announced = now;
}

function handling(p) {
  const level = p.ladder[p.level_number], ways = new Map();
  if (!p.level_number) {
    const next = p.ladder[1];
    return next ? `The next level, ${spoken(next.name)}, begins at a lag of ${whole(next.lag)} trades. Intake is ${p.intake}.` : `Intake is ${p.intake}.`;
  }
  for (const name of PRIORITIES) ways.set(level.actions[name], [...(ways.get(level.actions[name]) ?? []), name]);
  const parts = [...ways].map(([way, names]) => `${names.length === 4 ? "all" : names.join(" and ")} ${DONE[way]}`);
  const wait = p.cooldown_left_s ? `, after ${age(p.cooldown_left_s)}` : "";
  return `Now ${parts.join("; ")}. Intake is ${p.intake}. Left below a lag of ${whole(level.exit_lag)}${wait}.`;
}

function showAdvice(advice, number, now_us) {
  const calm = number === null ? "Start a consumer: k2ctl consume" : number ? "Nothing by hand: what is deferred is backfilled at NORMAL." : "Nothing: nothing is wrong.";
  const items = advice.length ? [...advice].sort((a, b) => b.firing - a.firing) : [{what: calm}];
  const many = advice.length > 1 ? ` (${advice.length})` : "";
  say($("advice-title"), "What to do" + many);
  keyed($("advice"), items, ({alert}, at) => alert + " " + at, () => element("li", {}, element("span"), element("a")), (li, {what, since_us, firing, runbook}) => {
    const since = since_us ? `since ${clock(since_us, now_us)}` : "", early = firing === false ? "may alert soon" : "";
    const when = [since, early].filter(Boolean).join(", ");
    say(li.children[0], what + (when ? ` (${when})` : ""));
    say(li.children[1], runbook ? "Runbook" : "");
    attribute(li.children[1], "href", runbook);
    attribute(li.children[1], "aria-label", runbook ? "Runbook: " + what : null);
    attribute(li, "class", !advice.length ? "fine" : firing ? "wrong" : "wrong early");
  });
}

function showLadder(ladder, number) {
  keyed($("ladder"), ladder, level => level.name, () => element("li", {}, element("b"), element("span")), (li, level, at) => {
    say(li.children[0], spoken(level.name));
    say(li.children[1], at ? `lag ≥ ${short(level.lag)} or memory ≥ ${percent(level.memory)}` : "below all of them");
    attribute(li, "class", LEVELS[at]);
    attribute(li, "aria-current", at === number ? "step" : null);
  });
}

export function showFigures(seen) {
  const p = seen?.ladder.length ? seen : null, s = p?.sequence, missing = s && s.missing_trades + s.lost_trades;
  const figures = [
    ["lag", whole(p?.lag_trades), "trades" + (p?.lag_seconds ? ", " + duration(p.lag_seconds) + " old" : "")],
    ["CRITICAL lag", duration(p?.critical_lag_seconds), p?.lag_trades && p.drain_s ? "all gone in " + duration(p.drain_s) : "age of the oldest"],
    ["loaded", perSecond(seen?.rate_loaded), seen?.loaders.length ? counted(seen.loaders.length, "load") : "no load reports"],
    ["read", perSecond(p?.rate_in), p?.budget ? "held to " + perSecond(p.budget) : p?.lag_slope > 0 ? "lag +" + perSecond(p.lag_slope) : "trades"],
    ["committed", perSecond(p?.rate_committed), p?.snapshot_age_s == null ? "no commit yet" : "last one " + duration(p.snapshot_age_s) + " ago"],
    ["pending", whole(p?.pending), "read, not stored yet"],
    ["deferred", whole(p?.outstanding), p?.outstanding_spilled ? short(p.outstanding_spilled) + " of them on disk" : "not backfilled yet", p?.outstanding > 0 && "graceful"],
    ["intake", p?.intake ?? UNKNOWN, p?.intake === "closed" ? "producers are to wait" : p ? "producers may send" : "not known", p?.intake === "closed" && "circuit-break"],
    ["memory", percent(p?.memory_share), p ? size(p.memory_bytes) + " in all" : "of its limit"],
    ["gaps", whole(s?.open_gaps), missing ? short(missing) + " trades missing" : "open", s?.open_gaps > 0 && "graceful"],
    ["dead letters", whole(p?.dead_lettered), "records and trades", p?.dead_lettered > 0 && "graceful"],
    ["lost", whole(p?.lost), p?.retention_left_s != null && p.retention_left_s < 7200 ? "Kafka deletes in " + duration(p.retention_left_s) : "deleted unread", p?.lost > 0 && "circuit-break"],
  ];
  keyed($("figures"), figures, figure => figure[0], () => element("div", {}, element("dt"), element("dd"), element("dd", {class: "dim"})),
    (box, [name, value, note, tone]) => {
      [name, value, note].forEach((text, at) => say(box.children[at], text));
      attribute(box, "class", tone || null);
    });
}

export function showMoves(moves, now_us) {
  const items = moves.length ? moves : [null];
  keyed($("moves"), items, move => move ? move.at_us + move.to : "none",
    move => move ? element("li", {}, element("time"), element("b", {class: "level " + LEVELS[levelOf(move.to)]}), element("span")) : element("li", {class: "dim"}, "None in the last hour."),
    (li, move) => {
      if (!move) return;
      say(li.children[0], clock(move.at_us, now_us));
      say(li.children[1], spoken(move.to));
      say(li.children[2], move.reason);
    });
}

const levelOf = name => Math.max(0, LEVELS.indexOf(name.toLowerCase().replace("_", "-")));

export function showTrades(p) {
  const known = Boolean(p?.ladder.length), figure = value => known ? whole(value) : UNKNOWN;
  rows($("priorities"), PRIORITIES.map(name => {
    if (!known) return [name, ...Array(4).fill([UNKNOWN, "r"])];
    const done = p?.by_priority?.[name] ?? {}, [now, spilled, shed] = ["process", "spill", "shed"].map(way => done[way] ?? 0);
    const all = now + spilled + shed, share = all ? (spilled + shed) / all : 0;
    return [name, [short(now), "r"], [short(spilled), "r"], [short(shed), "r"], [percent(share), share ? "r graceful" : "r dim"]];
  }));
  rows($("balance"), [
    ["seen", [figure(p && p.seen + p.pending), "r"], ["read from Kafka", "dim"]],
    ["stored", [figure(p?.stored), "r"], ["in the table, each once", "dim"]],
    ["pending", [figure(p?.pending), "r"], [known && p.commit_ms ? `a commit takes ${duration(p.commit_ms / 1000)}` : "read, not stored yet", "dim"]],
    ["deferred", [figure(p && p.shed + p.spilled), known && p.outstanding ? "r graceful" : "r"], [known && p.backfilled ? short(p.backfilled) + " backfilled by now" : "shed or spilled", "dim"]],
    ["duplicate", [figure(p?.duplicate), "r"], ["copies, stored once", "dim"]],
    ["dead-lettered", [figure(p?.dead_lettered), known && p.dead_lettered ? "r graceful" : "r"], ["could not become trades", "dim"]],
    ["lost", [figure(p?.lost), known && p.lost ? "r circuit-break" : "r"], ["deleted by Kafka, unread", "dim"]],
  ]);
}
