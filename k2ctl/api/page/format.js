// How figures, times and prices look. Times are UTC, in microseconds since 1970; what is not known is a dash.

export const UNKNOWN = "–";
const known = value => value !== null && value !== undefined && !Number.isNaN(value);

// 12,345
export const whole = value => known(value) ? Math.round(value).toLocaleString("en") : UNKNOWN;

// A count in four characters or so: 950, 12.3k, 4.56M.
export function short(value) {
  if (!known(value)) return UNKNOWN;
  for (const [divisor, suffix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    const scaled = value / divisor;
    if (Math.abs(scaled) >= 0.9995) return (Math.abs(scaled) >= 99.95 ? scaled.toFixed(0) : Number(scaled.toPrecision(3))) + suffix;
  }
  return String(Math.abs(value) >= 10 ? Math.round(value) : Number(value.toPrecision(2)));
}

export const perSecond = value => known(value) ? short(value) + "/s" : UNKNOWN;

// 0.734 → 73 %; what is below a tenth has a digit more.
export const percent = share => known(share) ? (share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0) + " %" : UNKNOWN;

// 340 ms, 4.2 s, 3 min 20 s, 2 h 5 min
export function duration(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds < 1) return Math.round(seconds * 1000) + " ms";
  if (seconds < 59.95) return seconds.toFixed(1) + " s";
  return age(seconds);
}

// The same in whole seconds, for what is counted up each second.
export function age(seconds) {
  const rest = Math.max(0, Math.round(seconds));
  if (rest < 60) return rest + " s";
  if (rest < 3600) return Math.floor(rest / 60) + " min " + rest % 60 + " s";
  return Math.floor(rest / 3600) + " h " + Math.floor(rest % 3600 / 60) + " min";
}

// 512 B, 12.3 kB, 4.5 MB; powers of ten.
export function size(bytes) {
  if (!known(bytes)) return UNKNOWN;
  for (const [divisor, unit] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]])
    if (bytes >= divisor) return Number((bytes / divisor).toPrecision(3)) + " " + unit;
  return bytes + " B";
}

export const counted = (number, noun) => whole(number) + " " + noun + (number === 1 ? "" : "s");

// 08:41:12, or with the day where it is not today's.
export function clock(at_us, now_us = at_us) {
  const text = new Date(at_us / 1000).toISOString(), today = new Date(now_us / 1000).toISOString();
  return (text.slice(0, 10) === today.slice(0, 10) ? "" : text.slice(0, 10) + " ") + text.slice(11, 19);
}

// Decimals of one column under each other: what one has fewer of is filled with spaces as wide as a digit and a point.
export function aligned(texts) {
  const decimals = texts.map(text => (text.split(".")[1] ?? "").length), most = Math.max(0, ...decimals);
  return texts.map((text, at) => {
    const [ones, rest] = text.split("."), point = rest === undefined && most ? "\u2008" : "";
    return ones.replace(/\B(?=(\d{3})+$)/g, ",") + (rest === undefined ? point : "." + rest) + "\u2007".repeat(most - decimals[at]);
  });
}
