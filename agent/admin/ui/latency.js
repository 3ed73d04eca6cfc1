// Who measured what round trip to whom.

import { h } from "./dom.js";
import { ms } from "./format.js";

const STEPS = [1, 5, 20, 80, 200];

function heat(value) {
  const step = STEPS.findIndex((limit) => value < limit);
  return `heat-${step < 0 ? STEPS.length : step}`;
}

export function latency(view) {
  const { by, names, ms: rows } = view.latency;
  if (names.length < 2) return [h("p", { class: "note" }, "Round trips appear once there is another member.")];
  const cell = (value, from, to) => {
    if (from === to) return h("td", { class: "self" }, value === null ? "" : ms(value));
    if (value === null) return h("td", { class: "unknown", "aria-label": "not measured" }, "·");
    return h("td", { class: heat(value), title: `${names[from]} to ${names[to]}: ${ms(value)} ms` }, ms(value));
  };
  const head = h("thead", {}, h("tr", {}, h("td", {}), names.map((name) => h("th", { scope: "col" }, h("span", {}, name)))));
  const body = h("tbody", {}, rows.map((row, from) => h("tr", {}, h("th", { scope: "row" }, names[from]), row.map((value, to) => cell(value, from, to)))));
  const what = by === "zone" ? "Median round trip between zones" : "Round trip from the member of a row to that of a column";
  return [
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": what },
      h("table", { class: "matrix" }, h("caption", {}, `${what}, ms`), head, body)),
    h("p", { class: "legend", "aria-hidden": "true" }, "ms",
      STEPS.map((limit, at) => h("span", { class: `heat-${at}` }, `< ${limit}`)), h("span", { class: `heat-${STEPS.length}` }, `≥ ${STEPS.at(-1)}`)),
  ];
}
