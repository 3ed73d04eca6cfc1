// Small parts that several sections use.

import { h } from "./dom.js";

/** A word with a mark before it; the mark's form differs too, for those who do not see its colour. */
export function badge(word, tone) {
  return h("span", { class: `badge ${tone}` }, word);
}

/** A share as a bar, with its figure beside it. */
export function bar(share, text, tone = "plain") {
  const width = `${Math.max(0, Math.min(1, share ?? 0)) * 100}%`;
  return h("span", { class: "measure" }, h("span", { class: `bar ${tone}`, style: { "--share": width }, "aria-hidden": "true" }), h("span", {}, text));
}

/** heads: a name each, with "#" before it where its cells are numbers. */
export function table(label, heads, rows) {
  const head = h("thead", {}, h("tr", {}, heads.map((name) => h("th", { scope: "col", class: name.startsWith("#") && "number" }, name.replace("#", "")))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, h("table", {}, head, h("tbody", {}, rows)));
}

export function number(text, tone) {
  return h("td", { class: `number ${tone ?? ""}` }, text);
}

export const STATE_TONES = { alive: "good", suspect: "warn", dead: "bad", left: "gone" };
export const BREAKER_TONES = { closed: "good", open: "bad", "half-open": "warn" };
