// Elements of the page: found, made, and changed in place, so that focus, selection and what is open stay as they are.

export const $ = id => document.getElementById(id);

// An element with its attributes (true is an empty one, false and null are none) and what is in it.
export function element(tag, attributes = {}, ...content) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) attribute(made, name, value);
  made.append(...content);
  return made;
}

export function attribute(of, name, value) {
  if (value === null || value === undefined || value === false) of.removeAttribute(name);
  else if (of.getAttribute(name) !== String(value === true ? "" : value)) of.setAttribute(name, value === true ? "" : value);
}

// Only what changes is written: readers of the screen are told of nothing else.
export function say(of, text) {
  if (of.textContent !== text) of.textContent = text;
}

// One child for each item, kept by its key: `make` makes it once, `update` brings it up to date.
export function keyed(parent, items, key, make, update) {
  const before = new Map([...parent.children].map(child => [child.dataset.key, child]));
  items.forEach((item, at) => {
    const name = String(key(item, at)), child = before.get(name) ?? make(item);
    before.delete(name);
    child.dataset.key = name;
    update(child, item, at);
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
  for (const gone of before.values()) gone.remove();
}

// The rows of a table's body; a cell is a text, or a text with a class. The first one is the row's heading.
export function rows(body, lines, key = (_, at) => at) {
  keyed(body, lines, key, line => element("tr", {}, ...line.map((_, at) => element(at ? "td" : "th", at ? {} : {scope: "row"}))),
    (row, line) => line.forEach((cell, at) => {
      const [text, name] = Array.isArray(cell) ? cell : [cell, ""];
      say(row.children[at], text);
      attribute(row.children[at], "class", name || null);
    }));
}

// The value of a colour of the style sheet, for what is drawn on a canvas.
export const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
