// The figures at the top.

import { h, sparkline } from "./dom.js";
import { count, median, ms, percent } from "./format.js";

const KEPT = 60;

export class Summary {
  constructor() {
    this.rates = [];
    this.last = null;
  }

  /** Requests a second since the last look, from two totals. */
  observe(status, now) {
    const total = Object.values(status.services).reduce((sum, row) => sum + row.requests, 0);
    if (this.last && total >= this.last.total && now > this.last.now) {
      this.rates.push((total - this.last.total) / ((now - this.last.now) / 1000));
      if (this.rates.length > KEPT) this.rates.shift();
    }
    this.last = { total, now };
  }

  render(view) {
    const { counts, status, self } = view;
    const failing = counts.suspect + counts.dead;
    const troubled = view.members.filter((row) => row.state === "alive" && row.health && row.health.level !== "ok").length;
    const caches = view.members.map((row) => row.cache).filter(Boolean);
    const asked = caches.reduce((sum, row) => sum + row.asked, 0);
    const hits = caches.reduce((sum, row) => sum + row.hits, 0);
    const endpoints = view.services.flatMap((service) => service.endpoints);
    const usable = endpoints.filter((row) => row.usable).length;
    const rtt = median(view.members.map((row) => row.rtt_ms).filter((value) => value !== null));
    const found = [];
    if (view.clustered) {
      found.push(tile("members alive", count(counts.alive), `${count(counts.suspect)} suspect, ${count(counts.dead)} dead, ${count(counts.left)} left`, counts.dead ? "bad" : failing ? "warn" : "good"));
      found.push(tile("not well", count(failing + troubled), failing + troubled ? "see members" : "all members are well", failing ? "bad" : troubled ? "warn" : "good"));
      found.push(tile("median round trip", `${ms(rtt)} ms`, self.health_score ? `hears others badly: ${self.health_score}` : "hears others well", self.health_score ? "warn" : "good"));
    }
    found.push(tile("requests a second", this.rates.length ? count(this.rates.at(-1)) : "–", `${count(status.in_flight)} in flight here`, "plain", this.rates));
    found.push(tile("hit ratio", percent(asked ? hits / asked : null), view.clustered ? "of all members' caches" : "of this agent's cache", "plain"));
    found.push(tile("endpoints usable", `${count(usable)} of ${count(endpoints.length)}`, endpoints.length - usable ? "see services" : "all may be chosen", endpoints.length - usable ? "bad" : "good"));
    return found;
  }
}

function tile(name, value, note, tone, line) {
  return h("div", { class: `tile ${tone}`, key: name },
    h("span", { class: "label" }, name), h("strong", {}, value), line && line.length > 1 && sparkline(line), h("span", { class: "dim" }, note));
}
