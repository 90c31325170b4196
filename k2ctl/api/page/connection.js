// The service: its key, its events each second, and what is asked of it besides. The key is sent in a header only.

import {$, attribute, say} from "./elements.js";
import {clock} from "./format.js";

const KEY = "k2-key", AGAIN_MS = 2000, NEXT_MS = 100, SILENT_MS = 10000;

// fetch and not EventSource, which cannot send a header: the key must not be in a URL.
async function* events(body, seen) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const {value, done} = await reader.read();
    if (done) return;
    seen();
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) yield JSON.parse(part.slice("data: ".length));
  }
}

export class Connection {
  // onEvent: each event; onOpen: when events come (again), and the service has to be asked what was missed.
  constructor(onEvent, onOpen) {
    this.onEvent = onEvent;
    this.onOpen = onOpen;
    this.heard_us = null; // when the last event came
    this.symbol = "";
    $("door").addEventListener("submit", event => { event.preventDefault(); this.#enter(); });
  }

  // Follow the platform, and this symbol if there is one.
  async follow(symbol) {
    this.symbol = symbol;
    this.running?.abort();
    const {signal} = this.running = new AbortController();
    while (!signal.aborted) {
      let again = true;
      try { again = await this.#connect(signal); }
      catch { if (!signal.aborted) this.#lost("The service does not answer"); }
      if (!again) return;
      await new Promise(done => setTimeout(done, this.lost ? AGAIN_MS : NEXT_MS));
    }
  }

  // The JSON of a path; null where the service refuses it or does not answer.
  async get(path) {
    try {
      const answer = await fetch(path, {headers: {...this.#headers(), Accept: "application/json"}});
      return answer.ok ? await answer.json() : null;
    } catch { return null; }
  }

  #headers() {
    const key = sessionStorage.getItem(KEY);
    return key ? {Authorization: "Bearer " + key} : {};
  }

  async #connect(signal) { // whether it is worth while to try again
    const query = this.symbol ? "?symbol=" + encodeURIComponent(this.symbol) : "", attempt = new AbortController();
    signal.addEventListener("abort", () => attempt.abort(), {once: true});
    let timer;
    const seen = () => { clearTimeout(timer); timer = setTimeout(() => attempt.abort(), SILENT_MS); };
    seen();
    try {
      const answer = await fetch("v1/events" + query, {signal: attempt.signal, headers: this.#headers()});
      if (answer.status === 401) { this.#ask(sessionStorage.getItem(KEY)); return false; }
      $("door").hidden = true;
      if (!answer.ok) {
        const {detail} = await answer.json();
        this.#lost(detail.replace(/\.$/, ""), answer.status < 500 && answer.status !== 429);
        return this.again;
      }
      for await (const event of events(answer.body, seen)) this.#live(event);
      return true;
    } finally { clearTimeout(timer); }
  }

  #live(event) {
    const opens = this.state !== "live";
    this.heard_us = event.at_us;
    this.lost = false;
    this.#say(event.tail_problem ? "troubled" : "live", event.tail_problem || "live, " + clock(event.at_us) + " UTC");
    if (opens) this.onOpen();
    try { this.onEvent(event); } catch (error) { reportError(error); } // it is the page's, and says nothing of the service
  }

  #lost(why, final = false) {
    const since = this.heard_us ? " since " + clock(this.heard_us) + " UTC; what is below is from then" : "";
    this.lost = true;
    this.again = !final;
    this.#say("lost", why + since + (final ? "." : ". Trying again every 2 s."));
  }

  #say(state, text) {
    if (this.state !== state && (this.state === "lost" || state === "lost")) say($("news"), state === "lost" ? text : "The service answers again.");
    this.state = state;
    attribute($("connection"), "class", state);
    attribute(document.documentElement, "data-lost", state === "lost");
    say($("state"), text);
  }

  #ask(key) {
    sessionStorage.removeItem(KEY);
    $("door").hidden = false;
    say($("refusal"), key ? "This key does not open the service." : "");
    this.#say("waits", "a key is needed");
    $("key").focus();
  }

  #enter() {
    const key = $("key").value.trim();
    $("key").value = "";
    say($("refusal"), "");
    if (!/^[\x21-\x7e]+$/.test(key)) { this.#ask(true); return; }
    sessionStorage.setItem(KEY, key);
    this.follow(this.symbol);
  }
}
