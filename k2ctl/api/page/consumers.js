// Consumers with what troubles each and how far its partitions are, and the loads.

import {$, attribute, element, keyed, say} from "./elements.js";
import {LEVELS} from "./bands.js";
import {age, counted, duration, percent, perSecond, short, size, whole} from "./format.js";
import {spoken} from "./platform.js";

export function showConsumers(p, now_us) {
  const units = [...(p?.consumers ?? []), ...(p?.loaders ?? [])], items = units.length ? units : [{kind: "none", id: ""}];
  keyed($("consumers"), items, unit => unit.kind + " " + unit.id, unit => ({consumer: newConsumer, load: newLoad, none: nothing})[unit.kind](),
    (box, unit) => ({consumer: updateConsumer, load: updateLoad, none: () => {}})[unit.kind](box, unit, now_us));
}

const nothing = () => element("p", {class: "dim"}, "None reports. Start a consumer: k2ctl consume");

function newUnit() {
  return element("article", {class: "unit"},
    element("h3", {}, element("span"), element("b", {class: "level"})), element("p", {class: "facts"}), element("ul", {class: "troubles"}));
}

function facts(box, pairs) {
  keyed(box.querySelector(".facts"), pairs, pair => pair[0], () => element("span", {}, element("span", {class: "dim"}), " ", element("b")),
    (fact, [name, value]) => { say(fact.children[0], name); say(fact.children[1], value); });
}

function newConsumer() {
  const box = newUnit();
  box.append(element("details", {}, element("summary"), element("ul", {class: "partitions"})));
  return box;
}

function updateConsumer(box, c, now_us) {
  const [heading, , troubles, details] = box.children, [name, level] = heading.children;
  say(name, `${c.id} on ${c.topic}`);
  say(level, spoken(c.level));
  attribute(level, "class", "level " + LEVELS[c.level_number]);
  facts(box, [["lag", whole(c.lag_trades)], ["read", perSecond(c.rate_in)], ["committed", perSecond(c.rate_committed)], ["commit", duration(c.commit_ms / 1000)],
    ["last", c.last_commit_at_us ? age((now_us - c.last_commit_at_us) / 1e6) + " ago" : "none yet"],
    ["memory", `${percent(c.memory_share)}, ${size(c.memory_bytes)}`]]);
  keyed(troubles, troublesOf(c), text => text, text => element("li", {}, text), () => {});
  partitions(details, c.partitions.map(one => ({...one, behind: Math.max(0, one.high_watermark - one.committed)})));
}

// What a consumer says that somebody has to look at.
function troublesOf(c) {
  const reduced = c.state?.guarantee === "REDUCED", tier = c.dedup?.tier, unanswered_s = c.group_commit?.announcement_age_s ?? 0;
  return [
    c.stopped && "has ended", c.waiting && "waits: " + c.waiting, unanswered_s > 10 && "no committer has answered for " + age(unanswered_s),
    reduced && "state REDUCED: " + c.state.why, tier?.guarantee === "REDUCED" && "dedup REDUCED: " + tier.why,
    c.clock_behind_s > 0 && `this machine's clock is ${duration(c.clock_behind_s)} behind Kafka's`,
    c.maintenance_error && "maintenance fails: " + c.maintenance_error, c.dedup_save_error && "dedup state is not saved: " + c.dedup_save_error,
  ].filter(Boolean);
}

function partitions(details, parts) {
  const worst = parts.reduce((a, b) => b.behind > a.behind ? b : a, parts[0] ?? {behind: 0});
  say(details.children[0], counted(parts.length, "partition") + (worst.behind ? `, the slowest ${worst.partition}: ${counted(worst.behind, "record")} behind` : parts.length ? ", none behind" : ""));
  keyed(details.children[1], parts, one => one.partition,
    () => element("li", {}, element("span", {class: "dim"}), element("meter", {min: 0, "aria-hidden": "true"}), element("b")),
    (li, one) => {
      say(li.children[0], String(one.partition));
      attribute(li.children[1], "max", Math.max(1, worst.behind));
      attribute(li.children[1], "value", one.behind);
      say(li.children[2], short(one.behind));
      attribute(li, "title", `partition ${one.partition}: read up to ${whole(one.position)}, stored up to ${whole(one.committed)}, of ${whole(one.high_watermark)}`);
    });
}

const newLoad = newUnit;

function updateLoad(box, load) {
  const [heading, , troubles] = box.children;
  say(heading.children[0], `${load.id} to ${load.topic}`);
  say(heading.children[1], "load");
  facts(box, [["rate", perSecond(load.rate)], ["target", perSecond(load.target_rate)], ["sent", whole(load.sent)], ["paused", duration(load.paused_s)]]);
  const why = [load.stopped && "has ended", load.paused_why && "paused: " + load.paused_why].filter(Boolean);
  keyed(troubles, why, text => text, text => element("li", {}, text), () => {});
}
