// The last hour, as the service kept it and as this page saw it since. What nobody saw is a hole, and stays one.

const KEPT_S = 3600, HOLE_STEPS = 4;

// What a row has, and where an event has it.
const SEEN = {
  level_number: p => p.level_number, lag_trades: p => p.lag_trades, rate_loaded: p => p.rate_loaded, rate_in: p => p.rate_in,
  rate_committed: p => p.rate_committed, pending: p => p.pending, outstanding: p => p.outstanding, memory_fraction: p => p.memory_share,
};
const NOTHING = Object.fromEntries(Object.keys(SEEN).map(name => [name, null]));

export class History {
  #rows = [];
  #moves = new Map();
  step_s = 2;

  // What the service kept: its rows go in the place of those that this page saw in the same time.
  load({step_s, at_us, series, transitions}) {
    this.step_s = step_s;
    const kept = at_us.map((at, n) => {
      const row = {at: at / 1e6};
      for (const name in SEEN) row[name] = series[name]?.[n] ?? null;
      return row;
    });
    if (kept.length) {
      const first = kept[0].at, last = kept.at(-1).at;
      this.#rows = [...this.#rows.filter(row => row.at < first), ...kept, ...this.#rows.filter(row => row.at > last)];
    }
    for (const move of transitions) this.#note(move.at_us, move.from, move.to, move.reason);
  }

  // One event. Of the levels' changes the consumers report the last twenty.
  add(at_us, platform) {
    const at = at_us / 1e6, last = this.#rows.at(-1);
    for (const move of platform?.transitions ?? []) this.#note(move.at_us, move.from_level, move.to_level, move.reason);
    if (last && at - last.at < this.step_s * 0.9) return;
    const row = {at, ...NOTHING};
    if (platform?.ladder.length) for (const name in SEEN) row[name] = SEEN[name](platform) ?? null;
    this.#rows.push(row);
    while (this.#rows[0].at < at - KEPT_S) this.#rows.shift();
  }

  #note(at_us, from, to, reason) {
    this.#moves.set(at_us + to, {at_us, from, to, reason});
    if (this.#moves.size > 500) this.#moves.delete(this.#moves.keys().next().value);
  }

  // Changes of level, newest first.
  get moves() {
    return [...this.#moves.values()].sort((a, b) => b.at_us - a.at_us);
  }

  get latest() {
    return this.#rows.at(-1);
  }

  // Since when the level has been this one, or for null since when nobody reports one; `whole` if that was seen to begin.
  since(level, number) {
    const move = this.moves[0];
    if (number !== null && move?.to === level) return {at_us: move.at_us, whole: true};
    let n = this.#rows.length;
    while (n > 0 && this.#rows[n - 1].level_number === number) n--;
    if (number === null) return n ? {at_us: this.#rows[n - 1].at * 1e6, whole: true} : null;
    return n < this.#rows.length ? {at_us: this.#rows[n].at * 1e6, whole: false} : null;
  }

  // Columns of the last minutes: times in seconds, then each series; between rows that are far apart a row of nothing.
  columns(minutes, names) {
    const end = this.latest?.at ?? 0, from = end - minutes * 60, table = [[], ...names.map(() => [])];
    let before = null;
    for (const row of this.#rows) {
      if (row.at < from) { before = row; continue; }
      if (before && row.at - before.at > this.step_s * HOLE_STEPS) push(table, before.at + this.step_s, NOTHING, names);
      push(table, row.at, row, names);
      before = row;
    }
    return table;
  }
}

function push(table, at, row, names) {
  table[0].push(at);
  names.forEach((name, n) => table[n + 1].push(row[name]));
}
