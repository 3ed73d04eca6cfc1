// Members by region and zone, each with what it tells of itself.

import { h } from "./dom.js";
import { ago, count, ms, percent } from "./format.js";
import { STATE_TONES, badge, bar } from "./parts.js";

export function members(view) {
  if (!view.clustered) {
    return [
      h("p", { class: "note" }, "No cluster is configured: this agent is alone. Set ", h("code", {}, "cluster.bind"), " and ", h("code", {}, "cluster.seeds"), " to let it find others."),
      ...regions(view),
    ];
  }
  return regions(view);
}

function regions(view) {
  const places = new Map();
  for (const row of view.members) {
    const zones = places.get(row.region) ?? places.set(row.region, new Map()).get(row.region);
    (zones.get(row.zone) ?? zones.set(row.zone, []).get(row.zone)).push(row);
  }
  return [...places].sort(byName).map(([region, zones]) =>
    h("div", { class: "region", key: `region ${region}` },
      h("h3", {}, region || "no region", h("span", { class: "dim" }, ` ${count([...zones.values()].flat().length)}`)),
      h("div", { class: "zones" }, [...zones].sort(byName).map(([zone, rows]) => card(zone, rows, view)))));
}

const byName = ([a], [b]) => a.localeCompare(b);

function card(zone, rows, view) {
  const alive = rows.filter((row) => row.state === "alive").length;
  return h("article", { class: "card zone", key: `zone ${zone}` },
    h("h4", {}, zone ? `zone ${zone}` : "no zone", h("span", { class: "dim" }, `${count(alive)} of ${count(rows.length)} alive`)),
    h("div", { class: "rows", tabindex: rows.length > 12 && "0" }, [...rows].sort(byTrouble).map((row) => member(row, row.name === view.self.name))));
}

const RANKS = ["bad", "warn", "good", "gone"];

/** Who is not well comes first: a large zone shows only its beginning. */
function byTrouble(a, b) {
  return RANKS.indexOf(condition(a)[1]) - RANKS.indexOf(condition(b)[1]) || a.name.localeCompare(b.name, undefined, { numeric: true });
}

/** What a member is, in a word and a tone: its state, or where that is well, what it says of its own health. */
function condition(row) {
  if (row.state !== "alive") return [row.state, STATE_TONES[row.state]];
  const level = row.health?.level ?? "alive";
  return [level === "ok" ? "alive" : level, { degraded: "warn", unhealthy: "bad", leaving: "gone" }[level] ?? "good"];
}

function member(row, own) {
  const [word, tone] = condition(row);
  return h("details", { class: "member", key: `member ${row.name}` },
    h("summary", {},
      badge(word, tone),
      h("span", { class: "name" }, row.name, own && h("span", { class: "dim" }, " (this)")),
      row.load && bar(row.load.cpu, percent(Math.min(row.load.cpu, 1)), row.load.cpu > 0.85 ? "warn" : "plain"),
      h("span", { class: "rtt" }, own ? "" : row.rtt_ms === null ? "–" : `${ms(row.rtt_ms)} ms`)),
    h("dl", {}, facts(row).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

function facts(row) {
  const found = [["address", row.address || "–"]];
  if (row.since_s !== null) found.push([row.state, `for ${ago(row.since_s)}, incarnation ${row.incarnation}`]);
  if (row.health?.reason) found.push(["says", row.health.reason]);
  if (row.load) {
    const { cpu, memory, loop_lag_s, in_flight, queue } = row.load;
    found.push(["load", `CPU ${percent(Math.min(cpu, 1))}, memory ${percent(memory)}, loop lag ${ms(loop_lag_s * 1000)} ms, in flight ${count(in_flight)}, queue ${count(queue)}`]);
    for (const [service, { p50_ms, p99_ms }] of Object.entries(row.load.latency)) found.push([service, `p50 ${ms(p50_ms)} ms, p99 ${ms(p99_ms)} ms`]);
  }
  if (row.admin) found.push(["admin API", row.admin]);
  for (const [name, value] of [...Object.entries(row.tags), ...Object.entries(row.versions)]) found.push([name, String(value)]);
  return found;
}
