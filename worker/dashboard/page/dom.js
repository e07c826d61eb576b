// DOM helpers. Text is always inserted as text, never as markup.

export const $ = (id) => document.getElementById(id);

/** Creates an element. Attributes are given by name, listeners with `on`; null and false leave an attribute out.
 *  Children are elements or strings; null is skipped. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const badge = (text, kind = "") => h("span", { class: `badge ${kind}` }, text);
export const small = (text) => h("small", {}, text);

/** A link within the page; see `route`. */
export const link = (to, ...children) => h("a", { href: to, class: "link" }, ...children);

/** Cells are [column name, content, class]. The first cell names the row. */
export function row(cells) {
  return h("tr", { role: "row" }, ...cells.map(([name, content, kind], index) => {
    const children = Array.isArray(content) ? content : [content];
    if (index === 0) return h("th", { scope: "row", role: "rowheader", class: kind }, ...children);
    const classes = [kind, content === "–" ? "none" : null].filter(Boolean).join(" ") || null;
    return h("td", { role: "cell", class: classes, "data-name": name || null }, h("div", {}, ...children));
  }));
}

/** Fills a table's body and keeps the focus on the button with the same `data-focus`. */
export function fill(body, rows, blank) {
  const focus = body.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  const columns = body.closest("table").querySelectorAll("thead th").length;
  const none = h("tr", { role: "row" }, h("td", { role: "cell", class: "empty", colspan: columns }, blank));
  body.replaceChildren(...(rows.length ? rows : [none]));
  if (focus) focusable(focus)?.focus();
}

/** The element with this `data-focus`. */
export const focusable = (name) => [...document.querySelectorAll("[data-focus]")].find((found) => found.dataset.focus === name);

/** Updates a select's options and keeps the selection. `choices`: values and names. */
export function options(select, choices) {
  const before = select.value;
  const all = before && !choices.some(([value]) => value === before) ? [...choices, [before, before]] : choices;
  select.replaceChildren(...all.map(([value, name]) => h("option", { value }, name)));
  select.value = before;
}

/** Names and values for a `dl`; null is left out. Values are text or elements. */
export const facts = (pairs) => pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(
  ([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, ...(Array.isArray(value) ? value : [value]))),
);

/** Creates a bar for a share from 0 to 1. */
export function meter(element, share, label) {
  element.classList.toggle("high", share >= 0.8 && share < 1);
  element.classList.toggle("full", share >= 1);
  element.firstElementChild.style.width = `${Math.min(1, share) * 100}%`;
  const percent = Math.round(share * 100);
  const values = { role: "meter", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.min(100, percent) };
  for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
  element.setAttribute("aria-label", label);
  element.setAttribute("aria-valuetext", `${percent} %`);
}

/** Calls the listener once the typing pauses. */
export function typed(field, listener) {
  let waiting;
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(listener, 250);
  });
}

let vanishes;

/** Announces an event, visibly and to screen readers. */
export function announce(text) {
  clearTimeout(vanishes);
  $("announce").textContent = text;
  vanishes = setTimeout(() => { $("announce").textContent = ""; }, 6000);
}

/** A section of the page: `load` fetches what `show` draws. The last call wins; an error offers a retry. */
export class Panel {
  #calls = 0;

  constructor(id, load, show) {
    this.section = $(id);
    this.problem = this.section.querySelector(".problem");
    this.load = load;
    this.show = show;
  }

  async refresh() {
    const call = ++this.#calls;
    this.section.setAttribute("aria-busy", "true");
    try {
      const found = await this.load();
      if (call !== this.#calls) return;
      this.problem.hidden = true;
      this.show(found);
    } catch (error) {
      if (call !== this.#calls || error.signedOut) return;
      const again = h("button", { type: "button", on: { click: () => this.refresh() } }, "Try again");
      this.problem.replaceChildren(h("span", { role: "alert" }, error.message), again);
      this.problem.hidden = false;
    } finally {
      if (call === this.#calls) this.section.removeAttribute("aria-busy");
    }
  }

  /** Discards the pending result. */
  forget() {
    this.#calls += 1;
    this.problem.hidden = true;
    this.section.removeAttribute("aria-busy");
  }
}

/** The buttons under a table: `turn` is called with -1 for newer and 1 for older. */
export class Pager {
  constructor(id, turn) {
    [this.back, this.note, this.on] = $(id).children;
    this.nav = $(id);
    this.back.addEventListener("click", () => turn(-1));
    this.on.addEventListener("click", () => turn(1));
  }

  /** `pages`: how many there are, null if that is not known; `more`: whether there is a next one. */
  show(page, pages, more = page < pages) {
    this.nav.hidden = page === 1 && !more;
    this.back.disabled = page === 1;
    this.note.textContent = pages ? `Page ${page} of ${pages}` : `Page ${page}`;
    this.on.disabled = !more;
  }
}
