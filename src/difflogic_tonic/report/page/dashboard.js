"use strict";
// The data (DATA) stand before this script: runs, points, axes, families. Nothing is fetched.
const $ = (id) => document.getElementById(id);
const SIZE = { w: 1000, h: 470, left: 75, right: 25, top: 15, bottom: 60 };
const SHAPES = {
  o: "M-7 0A7 7 0 1 1 7 0A7 7 0 1 1-7 0Z", "^": "M0-8L8 6L-8 6Z", s: "M-6.5-6.5H6.5V6.5H-6.5Z",
  D: "M0-9L9 0L0 9L-9 0Z", P: "M-3-8H3V-3H8V3H3V8H-3V3H-8V-3H-3Z",
};
const hidden = new Set();
let sorting = { column: null, down: false };

function element(parent, name, attributes, text) {
  const svg = parent.namespaceURI.endsWith("svg") || name === "svg";
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return parent.appendChild(made);
}

function shown(value, digits = 3) {
  const size = Math.abs(value);
  for (const [limit, by, unit] of [[1e12, 1e12, "T"], [1e9, 1e9, "G"], [1e6, 1e6, "M"], [1e4, 1e3, "k"]])
    if (size >= limit) return Number((value / by).toPrecision(digits)) + unit;
  return size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
}

const axisOf = (list, id) => list.find((axis) => axis.column === $(id).value);
const mean = (point, axis) => axis.factor * point.means[axis.column];
const spread = (point, axis) => axis.factor * (point.spreads[axis.column] || 0);
const withSpread = (point, axis) =>
  shown(mean(point, axis)) + (point.spreads[axis.column] ? " ± " + shown(spread(point, axis)) : "");
const here = () => DATA.points.filter((point) => point.dataset === $("dataset").value);
const has = (point, up, cost) => point.means[up.column] !== undefined && point.means[cost.column] > 0;

function paretoFront(places) {  // none as cheap and better, or cheaper and as good
  const front = [];
  for (const place of [...places].sort((a, b) => a[0] - b[0] || b[1] - a[1]))
    if (!front.length || place[1] > front.at(-1)[1]) front.push(place);
  return front;
}

function scale(values, log, from, to) {
  let low = Math.min(...values), high = Math.max(...values);
  const turn = log ? Math.log10 : (value) => value;
  const gap = (turn(high) - turn(low)) * 0.08 || (log ? 0.1 : Math.abs(high) * 0.02 || 1);
  const [first, last] = [turn(low) - gap, turn(high) + gap];
  const place = (value) => from + ((turn(value) - first) / (last - first)) * (to - from);
  return { place, ticks: log ? powers(first, last) : rounds(first, last) };
}

function rounds(first, last) {
  const raw = (last - first) / 6, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const from = Math.ceil(first / step), length = Math.floor(last / step) - from + 1;
  return Array.from({ length }, (_, n) => Number(((from + n) * step).toPrecision(12)));
}

function powers(first, last) {
  if (last - first < 0.8) return rounds(10 ** first, 10 ** last);
  const factors = last - first < 1.5 ? [1, 2, 5] : last - first < 2.5 ? [1, 3] : [1];
  const powers = Array.from({ length: Math.ceil(last - first) + 2 }, (_, n) => 10 ** (Math.floor(first) + n));
  const ticks = powers.flatMap((power) => factors.map((factor) => factor * power));
  return ticks.filter((tick) => Math.log10(tick) >= first && Math.log10(tick) <= last);
}

function drawPlot() {
  const plot = $("plot"), up = axisOf(DATA.accuracies, "accuracy"), cost = axisOf(DATA.costs, "cost");
  plot.replaceChildren();
  const points = up && cost ? here().filter((point) => !hidden.has(point.family) && has(point, up, cost)) : [];
  $("none").hidden = points.length > 0;
  if (!points.length) return;
  const ends = (axis) => points.flatMap((p) => [-1, 1].map((side) => mean(p, axis) + side * spread(p, axis)));
  const xs = $("log").checked ? ends(cost).filter((value) => value > 0) : ends(cost);
  const x = scale(xs, $("log").checked, SIZE.left, SIZE.w - SIZE.right);
  const y = scale(ends(up), false, SIZE.h - SIZE.bottom, SIZE.top);
  y.ticks = y.ticks.filter((tick) => tick <= up.factor);  // no accuracy is above 100 %
  drawAxes(plot, x, y, cost.label, up.label);
  const front = paretoFront(points.map((point) => [mean(point, cost), mean(point, up)]));
  const steps = front.map(([a, b], n) => (n ? `H${x.place(a)}V${y.place(b)}` : `M${x.place(a)} ${y.place(b)}`));
  element(plot, "path", { class: "front", d: steps.join("") });
  for (const point of points) drawPoint(plot, point, x, y, cost, up, front);
}

function drawAxes(plot, x, y, below, left) {
  const foot = SIZE.h - SIZE.bottom;
  for (const tick of x.ticks) {
    element(plot, "path", { class: "grid", d: `M${x.place(tick)} ${SIZE.top}V${foot}` });
    element(plot, "text", { x: x.place(tick), y: foot + 20, "text-anchor": "middle" }, shown(tick, 4));
  }
  for (const tick of y.ticks) {
    element(plot, "path", { class: "grid", d: `M${SIZE.left} ${y.place(tick)}H${SIZE.w - SIZE.right}` });
    element(plot, "text", { x: SIZE.left - 8, y: y.place(tick) + 4, "text-anchor": "end" }, shown(tick));
  }
  element(plot, "path", { class: "axis", fill: "none", d: `M${SIZE.left} ${SIZE.top}V${foot}H${SIZE.w - SIZE.right}` });
  element(plot, "text", { x: (SIZE.left + SIZE.w) / 2, y: SIZE.h - 12, "text-anchor": "middle" }, below);
  const turned = `translate(20 ${(SIZE.top + foot) / 2}) rotate(-90)`;
  element(plot, "text", { transform: turned, "text-anchor": "middle" }, left);
}

function drawPoint(plot, point, x, y, cost, up, front) {
  const [colour, shape] = DATA.families[point.family];
  const [a, b, da, db] = [mean(point, cost), mean(point, up), spread(point, cost), spread(point, up)];
  const low = a - da > 0 || !$("log").checked ? x.place(a - da) : SIZE.left;
  const bars = [db && `M${x.place(a)} ${y.place(b - db)}V${y.place(b + db)}`, da && `M${low} ${y.place(b)}H${x.place(a + da)}`];
  if (da || db) element(plot, "path", { d: bars.filter(Boolean).join(""), stroke: colour, "stroke-width": 1.5 });
  const best = front.some(([c, d]) => c === a && d === b) ? " best" : "";
  const label = `${point.jobs[0]}, ${withSpread(point, up)}, ${withSpread(point, cost)} ${cost.label}`;
  const about = { class: "point" + best, tabindex: 0, role: "img", "aria-label": label };
  const group = element(plot, "g", { ...about, "data-jobs": JSON.stringify(point.jobs) });
  element(group, "path", { d: SHAPES[shape], fill: colour, transform: `translate(${x.place(a)} ${y.place(b)})` });
  const on = () => { light(point.jobs); tell(point, group); };
  const off = () => { light([]); $("tip").style.display = "none"; };
  Object.assign(group, { onmouseenter: on, onfocus: on, onmouseleave: off, onblur: off });
}

function tell(point, group) {
  const seeds = point.jobs.length > 1 ? `\n${point.jobs.length} seeds: ${point.jobs.join(", ")}` : "";
  const values = [...DATA.accuracies, ...DATA.costs].filter((axis) => point.means[axis.column] !== undefined);
  const lines = values.map((axis) => `${axis.label}: ${withSpread(point, axis)}`);
  const tip = $("tip"), box = group.getBoundingClientRect();
  tip.textContent = `${point.family} ${point.jobs[0]}${seeds}\n${lines.join("\n")}`;
  tip.style.display = "block";
  const left = Math.min(box.right + 10, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
  tip.style.top = `${box.bottom + 6 + window.scrollY}px`;
}

function light(jobs) {
  for (const row of document.querySelectorAll("tbody tr")) row.classList.toggle("lit", jobs.includes(row.dataset.job));
  for (const group of document.querySelectorAll(".point"))
    group.classList.toggle("lit", JSON.parse(group.dataset.jobs).some((job) => jobs.includes(job)));
}

function drawTable() {
  const columns = DATA.columns.filter((column) => column.main || $("all").checked);
  const words = $("search").value.toLowerCase().split(/\s+/);
  const rows = DATA.rows.filter((row) => {
    const text = Object.values(row).join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  if (sorting.column) rows.sort(comparing(sorting.column, sorting.down ? -1 : 1));
  const head = $("head"), body = $("body");
  for (const part of [head, body]) part.replaceChildren();
  for (const column of columns) {
    const sorted = sorting.column === column ? (sorting.down ? "descending" : "ascending") : "none";
    const cell = element(head, "th", { "aria-sort": sorted, scope: "col", class: column.number ? "number" : "" });
    const button = element(cell, "button", { type: "button" }, column.label);
    button.addEventListener("click", () => {
      sorting = { column, down: sorting.column === column ? !sorting.down : column.number };
      drawTable();
      head.children[columns.indexOf(column)].firstChild.focus();
    });
  }
  for (const row of rows) {
    const line = element(body, "tr", { "data-job": row.job_id });
    for (const column of columns)
      element(line, "td", column.number ? { class: "number" } : {}, shownCell(row[column.name], column));
    Object.assign(line, { onmouseenter: () => light([row.job_id]), onmouseleave: () => light([]) });
  }
}

const shownCell = (text, column) =>
  !text ? "" : column.number && !Number.isNaN(Number(text)) ? shown(Number(text) * column.factor) : text;

function comparing(column, sign) {  // what is empty stands last either way
  return (one, two) => {
    const [a, b] = [one[column.name] || "", two[column.name] || ""];
    if (!a || !b) return (a ? 0 : 1) - (b ? 0 : 1);
    return sign * (column.number ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
  };
}

function offer(id, options) {
  for (const [value, text] of options) element($(id), "option", { value }, text);
  $(id).parentElement.hidden = options.length < 2 && id !== "cost";
  $(id).addEventListener("change", id === "dataset" ? offerCosts : drawPlot);
}

function offerCosts() {  // only what runs of this dataset have; at first what most of them have
  const before = $("cost").value, up = axisOf(DATA.accuracies, "accuracy");
  const count = (cost) => here().filter((point) => has(point, up, cost)).length;
  const costs = DATA.costs.filter(count);
  $("cost").replaceChildren();
  for (const axis of costs) element($("cost"), "option", { value: axis.column }, axis.label);
  const common = costs.reduce((best, axis) => (count(axis) > count(best) ? axis : best), costs[0]);
  if (common) $("cost").value = costs.some((axis) => axis.column === before) ? before : common.column;
  drawPlot();
}

for (const [family, [colour, shape]] of Object.entries(DATA.families)) {
  const button = element($("legend"), "button", { type: "button", "aria-pressed": "true" });
  const icon = element(button, "svg", { width: 18, height: 18, viewBox: "-10 -10 20 20", "aria-hidden": "true" });
  element(icon, "path", { d: SHAPES[shape], fill: colour });
  button.append(" " + family);
  button.addEventListener("click", () => {
    if (!hidden.delete(family)) hidden.add(family);
    button.setAttribute("aria-pressed", String(!hidden.has(family)));
    drawPlot();
  });
}
offer("dataset", [...new Set(DATA.points.map((point) => point.dataset))].map((name) => [name, name]));
offer("accuracy", DATA.accuracies.map((axis) => [axis.column, axis.label]));
offer("cost", []);
for (const id of ["all", "search"]) $(id).addEventListener("input", drawTable);
$("log").addEventListener("change", drawPlot);
offerCosts();
drawTable();
