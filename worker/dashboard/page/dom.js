// DOM helpers. Text is always inserted as text, never as markup.

export const $ = (id) => document.getElementById(id);

/** Creates an element. Attributes are given by name, listeners with `on`. Children are elements or strings; null is skipped. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const badge = (text, kind = "") => h("span", { class: `badge ${kind}` }, text);

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
  if (focus) [...body.querySelectorAll("[data-focus]")].find((found) => found.dataset.focus === focus)?.focus();
}

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
  }
}

/** Opens a dialog. `send` is called with the form on submit; its errors are shown in the dialog. */
export function ask(dialog, send = null) {
  const form = dialog.querySelector("form");
  const leave = () => dialog.close();
  dialog.querySelector("[value=cancel]").onclick = leave;
  if (form) {
    const said = form.querySelector(".error");
    const button = form.querySelector("[type=submit]");
    form.reset();
    said.textContent = "";
    form.onsubmit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      said.textContent = "";
      try {
        const then = await send(form);
        leave();
        then?.();
      } catch (error) {
        said.textContent = error.message;
      } finally {
        button.disabled = false;
      }
    };
  }
  dialog.showModal();
}
