// What lies behind the lines of a chart: the levels as bands, and the holes, where nobody saw anything.

import {colour} from "./elements.js";

export const LEVELS = ["normal", "soft", "graceful", "aggressive", "circuit-break"];

// Stretches of one value, as [value, first, last]; the first and last are places in the column.
export function stretches(column) {
  const found = [];
  column.forEach((value, at) => {
    if (found.length && found.at(-1)[0] === value) found.at(-1)[2] = at;
    else found.push([value, at, at]);
  });
  return found;
}

// levels: a number for each time; null is a hole. names: those of the levels, for a track above the chart that says them.
export function drawBands(plot, times, levels, names) {
  if (!times.length) return;
  const {left, top, width, height} = plot.bbox, {ctx} = plot, ratio = devicePixelRatio, track = (names.length ? 18 : 4) * ratio;
  const place = at => Math.min(left + width, Math.max(left, plot.valToPos(at, "x", true)));
  const band = (level, from, to) => {
    const name = level === null ? "not seen" : names[level] ?? "";
    ctx.fillStyle = colour(level === null ? "dim" : LEVELS[level]);
    ctx.globalAlpha = level ? 0.14 : level === null ? 0.1 : 0.05;
    ctx.fillRect(from, top, to - from, height);
    ctx.globalAlpha = 1;
    if (level !== null) ctx.fillRect(from, top - track - 2 * ratio, to - from, track);
    if (!names.length || ctx.measureText(name).width + 10 * ratio > to - from) return;
    ctx.fillStyle = colour(level === null ? "dim" : "on-level");
    ctx.fillText(name, from + 5 * ratio, top - 7 * ratio);
  };
  ctx.save();
  Object.assign(ctx, {textAlign: "left", textBaseline: "alphabetic"});
  ctx.font = "600 " + 11 * ratio + "px system-ui, sans-serif";
  band(null, left, place(times[0])); // before the first row nobody was there
  for (const [level, first, last] of stretches(levels))
    band(level, place(times[first]), place(times[Math.min(times.length - 1, last + 1)]));
  ctx.restore();
}
