// Services, their endpoints, and what this agent and its peers think of them.

import { h } from "./dom.js";
import { count, ms } from "./format.js";
import { BREAKER_TONES, badge, bar, number, table } from "./parts.js";

export function services(view) {
  if (!view.services.length) return [h("p", { class: "note" }, "No services are configured.")];
  return view.services.map((service) => card(service, view.clustered));
}

function card(service, clustered) {
  const slowest = Math.max(...service.endpoints.map((row) => row.ewma_ms), 1);
  const heads = ["endpoint", "condition", "breaker", "EWMA ms", "#in flight", "#tries", "#failed", "zone"];
  if (clustered) heads.push("announced by", "peers say");
  return h("article", { class: "card", key: `service ${service.name}` },
    h("h3", {}, service.name,
      h("span", { class: "dim" }, service.policy),
      service.breaker !== "closed" && badge(`service breaker ${service.breaker}`, BREAKER_TONES[service.breaker]),
      service.panic && badge("panic: health is ignored", "bad"),
      h("span", { class: "dim right" }, `in flight ${count(service.in_flight)} of ${count(service.concurrency_limit)}`)),
    service.endpoints.length
      ? table(`Endpoints of ${service.name}`, heads, service.endpoints.map((row) => endpoint(row, slowest, clustered)))
      : h("p", { class: "note" }, "No endpoints."));
}

export function condition(row) {
  if (row.ejected_for_s > 0) return [`ejected ${row.ejected_for_s.toFixed(0)} s`, "bad"];
  if (!row.healthy) return ["unhealthy", "bad"];
  return row.usable ? ["usable", "good"] : ["waiting", "warn"];
}

function endpoint(row, slowest, clustered) {
  const share = row.requests ? row.failures / row.requests : 0;
  return h("tr", { key: row.address },
    h("th", { scope: "row" }, row.address),
    h("td", {}, badge(...condition(row))),
    h("td", {}, badge(row.breaker, BREAKER_TONES[row.breaker])),
    h("td", {}, bar(row.ewma_ms / slowest, ms(row.ewma_ms))),
    number(count(row.in_flight)),
    number(count(row.requests)),
    number(count(row.failures), share > 0.05 ? "bad-text" : ""),
    h("td", {}, [row.region, row.zone].filter(Boolean).join("/") || "–"),
    clustered && h("td", { title: row.announced_by }, row.announced_by || h("span", { class: "dim" }, "configured")),
    clustered && h("td", {}, peers(row.peers_say)));
}

function peers(told) {
  const open = told.filter((one) => one.breaker !== "closed").length;
  const ejected = told.filter((one) => one.ejected).length;
  if (!open && !ejected) return h("span", { class: "dim" }, "–");
  const names = told.map((one) => one.member).join(", ");
  return h("span", { title: names }, open > 0 && badge(`${open} × breaker not closed`, "warn"), ejected > 0 && badge(`${ejected} × ejected`, "warn"));
}
