// Stacked bars over time, drawn with uPlot, and a legend with each group's value.

import { h } from "./dom.js";

const { uPlot } = window;
const COLOURS = 7; // --c0 to --c6; --c7 is for all other groups
const STEPS = Array.from({ length: 22 }, (_, at) => [1, 2, 5].map((digit) => digit * 10 ** (at - 9))).flat();

export const colour = (index) => `var(--c${Math.min(index, COLOURS)})`;

export class Bars {
  #plot = null;
  #drawn = null;

  /** `said`: the element that shows the legend's time. `format`: formats values. `mark`: formats the axis values, which
   *  are at least `least` apart. */
  constructor(host, legend, said, format, mark, least) {
    Object.assign(this, { host, legend, said, format, mark, steps: STEPS.filter((step) => step >= least) });
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#drawn && this.draw(this.#drawn));
  }

  /** { starts: [seconds], length: seconds, utc, groups: [{ name, values }], name: (index) => text, mark: (date) => text,
   *  label, blank } */
  draw(wanted) {
    this.clear();
    this.#drawn = wanted;
    this.host.setAttribute("role", "img");
    this.host.setAttribute("aria-label", wanted.label);
    if (!wanted.groups.length) {
      this.host.replaceChildren(h("p", { class: "blank" }, wanted.blank));
      return;
    }
    this.#plot = new uPlot(this.#options(wanted), this.#stacked(wanted), this.host);
    this.#values(null);
  }

  clear() {
    this.#plot?.destroy();
    this.#plot = this.#drawn = null;
    this.host.replaceChildren();
    this.legend.replaceChildren();
    this.said.textContent = "";
  }

  #size() {
    return { width: this.host.clientWidth, height: this.host.clientHeight };
  }

  /** Each series is the sum of its group and those below it. The tallest is drawn first, and the others cover it. */
  #stacked({ starts, groups }) {
    const sums = starts.map(() => 0);
    const layers = groups.map(({ values }) => values.map((value, at) => (sums[at] += value)));
    return [starts, ...layers.reverse()];
  }

  #options({ starts, length, utc, groups, mark }) {
    const styles = getComputedStyle(this.host);
    const read = (name) => styles.getPropertyValue(name).trim();
    const font = `12px ${styles.fontFamily}`;
    const axis = { stroke: read("--soft"), font, ticks: { show: false } };
    const paths = uPlot.paths.bars({ size: [0.72, 44], radius: 0 });
    const series = groups.map((_, index) => ({ fill: read(`--c${Math.min(index, COLOURS)}`), width: 0, paths, points: { show: false } }));
    return {
      ...this.#size(),
      padding: [10, 6, 0, 0],
      tzDate: (at) => (utc ? uPlot.tzDate(new Date(at * 1000), "Etc/UTC") : new Date(at * 1000)),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: {
        x: { range: () => [starts[0] - length / 2, starts.at(-1) + length / 2] },
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        { ...axis, size: 30, grid: { show: false }, space: 64, values: (_, marks) => marks.map((at) => mark(new Date(at * 1000))) },
        { ...axis, size: 58, grid: { stroke: read("--line"), width: 1 }, incrs: this.steps, values: (_, marks, _axis, _space, step) => marks.map((value) => this.mark(value, step)) },
      ],
      series: [{}, ...series.reverse()],
      hooks: { setCursor: [(plot) => this.#values(plot.cursor.idx ?? null)] },
    };
  }

  /** Updates the legend's values: of the bucket under the pointer, or in total. */
  #values(index) {
    const { groups, name } = this.#drawn;
    const total = (values) => values.reduce((sum, value) => sum + value, 0);
    const value = ({ values }) => (index === null ? total(values) : values[index]);
    this.said.textContent = `${index === null ? "" : `${name(index)}: `}${this.format(total(groups.map(value)))}`;
    this.legend.replaceChildren(...groups.map((group, at) => {
      const mark = h("i", {});
      mark.style.background = colour(at);
      return h("li", {}, mark, h("span", { title: group.name }, group.name), h("b", {}, this.format(value(group))));
    }));
  }
}
