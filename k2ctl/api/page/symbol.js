// The search of a symbol: a list under the field, by pointer and by keyboard, as the pattern of a combobox has it.

import {$, attribute, element, keyed} from "./elements.js";

const SHOWN = 12, PAUSE_MS = 120;

export class SymbolSearch {
  // find: prefix → symbols. onChoice: the symbol that was chosen.
  constructor(find, onChoice) {
    Object.assign(this, {find, onChoice, input: $("symbol"), list: $("found"), at: -1, chosen: ""});
    this.input.addEventListener("input", () => this.#later());
    this.input.addEventListener("focus", () => this.input.select());
    this.input.addEventListener("keydown", event => this.#key(event));
    this.input.addEventListener("blur", () => { this.#close(); this.input.value = this.chosen; });
    this.list.addEventListener("pointerdown", event => { event.preventDefault(); this.choose(event.target.closest("li").dataset.key); });
  }

  choose(symbol) {
    this.#close();
    this.input.value = symbol;
    if (symbol === this.chosen) return;
    this.chosen = symbol;
    this.onChoice(symbol);
  }

  #later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(), PAUSE_MS);
  }

  async #ask() {
    const prefix = this.input.value.trim(), number = this.asked = (this.asked ?? 0) + 1;
    const symbols = await this.find(prefix, SHOWN);
    if (number === this.asked && document.activeElement === this.input) this.#open(symbols);
  }

  #open(symbols) {
    keyed(this.list, symbols.length ? symbols : [""], symbol => symbol,
      symbol => symbol ? element("li", {role: "option", id: "option-" + symbol}, symbol) : element("li", {class: "dim"}, "No such symbol"), () => {});
    this.list.hidden = false;
    attribute(this.input, "aria-expanded", "true");
    this.#mark(-1);
  }

  #close() {
    clearTimeout(this.timer);
    this.asked = (this.asked ?? 0) + 1;
    this.list.hidden = true;
    attribute(this.input, "aria-expanded", "false");
    this.#mark(-1);
  }

  #mark(at) {
    const options = [...this.list.querySelectorAll("[role=option]")];
    this.at = options.length ? Math.max(-1, Math.min(at, options.length - 1)) : -1;
    options.forEach((option, n) => attribute(option, "aria-selected", String(n === this.at)));
    attribute(this.input, "aria-activedescendant", options[this.at]?.id);
    options[this.at]?.scrollIntoView({block: "nearest"});
  }

  #key(event) {
    const open = !this.list.hidden, marked = this.list.querySelector("[aria-selected=true]");
    if (event.key === "Enter") this.choose(marked?.dataset.key ?? this.input.value.trim());
    else if (event.key === "Escape") { this.input.value = this.chosen; this.#close(); }
    else if (event.key === "ArrowDown" && !open) this.#ask();
    else if (event.key === "ArrowDown") this.#mark(this.at + 1);
    else if (event.key === "ArrowUp" && open) this.#mark(this.at - 1);
    else return;
    event.preventDefault();
  }
}
