// The stream of what happens. The browser comes back by itself, with the id of the last event that it saw.

import { h } from "./dom.js";
import { clock } from "./format.js";
import { badge } from "./parts.js";

const KEPT = 100;
const TONES = { join: "good", refute: "good", leave: "gone", reap: "gone", suspect: "warn", fail: "bad", conflict: "bad" };
const KINDS = [...Object.keys(TONES), "update", "key", "other"];

export class Events {
  /** on_news: called after each event. */
  constructor(on_news) {
    this.list = [];
    this.on_news = on_news;
    this.source = null;
  }

  follow() {
    if (this.source && this.source.readyState !== EventSource.CLOSED) return; // closed: refused, and the browser does not try again
    this.source = new EventSource("/cluster/events?recent=50");
    for (const kind of KINDS) this.source.addEventListener(kind, (message) => this.add(JSON.parse(message.data)));
    this.source.addEventListener("gap", (message) => {
      const { missed } = JSON.parse(message.data);
      this.add({ id: `gap ${Date.now()}`, at: Date.now() / 1000, kind: "gap", member: "", detail: `${missed ?? "some"} events were missed` });
    });
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  add(event) {
    if (this.list.some((known) => known.id === event.id)) return;
    this.list.unshift(event);
    this.list.length = Math.min(this.list.length, KEPT);
    this.on_news();
  }

  render(view) {
    if (!view.clustered) return [h("p", { class: "note" }, "Joins, leaves and failures of members appear here.")];
    if (!this.list.length) return [h("p", { class: "note" }, "Nothing has happened since the agent started.")];
    return [h("ol", { class: "card log", role: "log", tabindex: "0", "aria-label": "Events, the latest first" }, this.list.map((event) =>
      h("li", { key: event.id },
        h("time", { datetime: new Date(event.at * 1000).toISOString() }, clock(event.at)),
        badge(event.kind, TONES[event.kind] ?? "plain"),
        h("span", { class: "name" }, event.member),
        h("span", { class: "dim" }, event.detail))))];
  }
}
