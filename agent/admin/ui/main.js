// Asks the admin API every two seconds, and at once when the stream of events tells of something. A hidden page asks nothing.

import { cache } from "./cache.js";
import { replace } from "./dom.js";
import { Events } from "./events.js";
import { latency } from "./latency.js";
import { members } from "./members.js";
import { services } from "./services.js";
import { Summary } from "./summary.js";

const EVERY_MS = 2000;
const LARGE = 300; // members; beyond, a look is worth more to the agent, and is taken less often
const TOGETHER_MS = 150;

const summary = new Summary();
const events = new Events(() => {
  show();
  plan(TOGETHER_MS);
});
let view = null;
let timer = 0;
let due = Infinity;
let asking = false;

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(10000) });
  if (!answer.ok) throw Object.assign(new Error(`${path}: ${answer.status}`), { status: answer.status });
  return answer.json();
}

/** One agent as if it were a mesh of one. */
function alone(status, clusters, store) {
  const totals = Object.values(status.services).map((row) => row.outcomes);
  const sum = (...names) => totals.reduce((all, row) => all + names.reduce((some, name) => some + (row[name] ?? 0), 0), 0);
  const hits = sum("hit", "stale");
  const own = { name: status.id, address: "", region: "", zone: "", state: "alive", since_s: status.uptime_s, incarnation: 0, rtt_ms: null, tags: {}, versions: {}, health: null, load: null };
  return {
    self: { name: status.id, health_score: 0 },
    counts: { alive: 1, suspect: 0, dead: 0, left: 0 },
    members: [{ ...own, cache: { entries: store.entries, bytes: store.used_bytes, hits, asked: hits + sum("miss", "revalidated") } }],
    latency: { by: "member", names: [status.id], ms: [[null]] },
    services: clusters,
  };
}

async function look() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    const status = await ask("/status");
    const [store, found] = await Promise.all([ask("/cache"), ask(status.clustered ? "/cluster/mesh" : "/clusters")]);
    summary.observe(status, performance.now());
    view = { ...(status.clustered ? found : alone(status, found, store)), status, store, clustered: status.clustered };
    if (status.clustered) events.follow();
    else events.close();
    show();
    state(status.draining ? "draining" : "live", status.draining ? "warn" : "good");
  } catch (error) {
    state(`no answer: ${error.message}`, "bad");
  } finally {
    asking = false;
    plan(view && view.members.length > LARGE ? 5 * EVERY_MS : EVERY_MS);
  }
}

/** Look after so long, or sooner where that was planned already. */
function plan(after_ms) {
  const at = performance.now() + after_ms;
  if (at >= due && due > performance.now()) return;
  clearTimeout(timer);
  due = at;
  timer = setTimeout(() => {
    due = Infinity;
    look();
  }, after_ms);
}

function state(word, tone) {
  const element = document.getElementById("live");
  if (element.textContent !== word) element.textContent = word;
  element.className = tone;
  document.body.classList.toggle("stale", tone === "bad");
}

function show() {
  if (!view) return;
  const name = view.self.cluster ? `${view.self.name} in ${view.self.cluster}` : view.self.name;
  replace(document.getElementById("who"), name);
  document.title = `Pilotfish ${view.self.name}`;
  replace(document.getElementById("summary"), ...summary.render(view));
  for (const [id, render] of [["members", members], ["services", services], ["latency", latency], ["cache", cache], ["events", (all) => events.render(all)]]) {
    replace(document.querySelector(`#${id} > .body`), ...render(view));
  }
}

window.addEventListener("pagehide", () => events.close()); // else a page that is kept for "back" keeps its stream
window.addEventListener("pageshow", (event) => event.persisted && look());
document.addEventListener("visibilitychange", () => !document.hidden && look());
look();
