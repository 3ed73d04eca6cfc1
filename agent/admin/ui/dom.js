// Elements from values, and the page brought to what they say. Text is only ever text: nothing here parses markup.

/** An element. attributes: a key is remembered for `replace`, style is an object of CSS properties, false and null are left out. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "key") element.dataset.key = value;
    else if (name === "style") for (const [property, to] of Object.entries(value)) element.style.setProperty(property, to);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...flat(children));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A line of values over time; only its form matters, so it has no axes. */
export function sparkline(values, width = 96, height = 26) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("class", "spark");
  svg.setAttribute("aria-hidden", "true");
  const most = Math.max(...values, 1e-9);
  const step = width / Math.max(values.length - 1, 1);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", values.map((value, at) => `${(at * step).toFixed(1)},${(height - 2 - (value / most) * (height - 4)).toFixed(1)}`).join(" "));
  svg.append(line);
  return svg;
}

function flat(children) {
  return children.flat(4).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Make the children of `parent` like `wanted`, changing what is there: what has the focus or is open stays so. */
export function replace(parent, ...wanted) {
  const keyed = new Map();
  for (const child of parent.children) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  let at = parent.firstChild;
  for (let next of flat(wanted)) {
    if (!(next instanceof Node)) next = document.createTextNode(String(next));
    const key = next.dataset?.key;
    const have = key ? keyed.get(key) : at && !at.dataset?.key ? at : null;
    if (!have || have.nodeName !== next.nodeName) {
      parent.insertBefore(next, at);
      continue;
    }
    if (have === at) at = at.nextSibling;
    else parent.insertBefore(have, at);
    become(have, next);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function become(have, next) {
  if (have.nodeType === Node.TEXT_NODE) {
    if (have.data !== next.data) have.data = next.data;
    return;
  }
  for (const { name } of [...have.attributes]) {
    if (!next.hasAttribute(name) && !(name === "open" && have.nodeName === "DETAILS")) have.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    // The policy forbids style attributes, not styles that a script sets.
    if (name === "style") have.style.cssText = next.style.cssText;
    else if (have.getAttribute(name) !== value) have.setAttribute(name, value);
  }
  replace(have, ...next.childNodes);
}
