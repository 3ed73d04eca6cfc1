// What the stores of the members hold and answer.

import { h } from "./dom.js";
import { bytes, count, percent } from "./format.js";
import { bar, number, table } from "./parts.js";

export function cache(view) {
  const rows = view.members.filter((row) => row.cache).sort((a, b) => b.cache.asked - a.cache.asked);
  const { store } = view;
  const own = h("p", { class: "note" },
    `This agent: ${count(store.entries)} entries, ${bytes(store.used_bytes)} of ${bytes(store.size_bytes)} (${store.policy})`,
    bar(store.used_bytes / store.size_bytes, percent(store.used_bytes / store.size_bytes), store.used_bytes / store.size_bytes > 0.95 ? "warn" : "plain"));
  if (!rows.length) return [own];
  return [own, h("article", { class: "card" }, table("Caches by member", ["member", "hit ratio", "#asked", "#answered", "#entries", "#bytes"], rows.map(line)))];
}

function line({ name, cache: { asked, hits, entries, bytes: size } }) {
  const ratio = asked ? hits / asked : null;
  return h("tr", { key: name },
    h("th", { scope: "row" }, name),
    h("td", {}, bar(ratio, percent(ratio), "good")),
    number(count(asked)), number(count(hits)), number(count(entries)), number(bytes(size)));
}
