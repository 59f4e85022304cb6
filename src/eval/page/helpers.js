"use strict";
/* What both pages draw with. Text gets into the page as text alone: element() sets textContent. */
const report = JSON.parse(document.getElementById("data").textContent);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const palette = ["#2f7fd1", "#d9772b", "#3a9d5d", "#a453b8", "#c2485a", "#7a8794", "#b59a2d", "#2ba3a3", "#8c6bd6", "#9b6a4a"];
const canDraw = typeof Chart !== "undefined";

/* Three significant digits, thousands whole. */
function figure(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4);
}
const secondsText = seconds => `${+seconds.toPrecision(3)} s`;
const range = pair => pair && pair[0] !== null ? `[${figure(pair[0])}, ${figure(pair[1])}]` : "";

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

/* A row of cells, each [text, class]. */
function line(table, cells, tag) {
  const tr = table.appendChild(element("tr"));
  for (const [text, kind] of cells) tr.appendChild(element(tag || "td", text, kind));
}

/* ---- charts: kept as functions, to be drawn anew in other colours ---- */
const drawn = [];

function draw(entry) {
  if (entry.chart) entry.chart.destroy();
  Chart.defaults.color = css("--ink");
  Chart.defaults.borderColor = css("--line");
  Chart.defaults.font.family = "system-ui, sans-serif";
  Chart.defaults.maintainAspectRatio = false;
  Chart.defaults.animation = false;
  entry.chart = new Chart(entry.canvas, entry.config());
}
/* A change of colour scheme, paper included. */
const redraw = () => drawn.forEach(draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
matchMedia("print").addEventListener("change", redraw);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(part => { part.open = true; }));

/* A section with a title, a sentence and a chart: what Chart.js wants, or a function that makes it in today's colours. */
function card(title, about, config, parent, kind, height) {
  if (!canDraw) return;
  const section = (parent || document.getElementById("charts")).appendChild(element("section"));
  section.appendChild(element("h2", title));
  section.appendChild(element("p", about));
  const box = section.appendChild(element("div", undefined, `chart ${kind || ""}`));
  if (height) box.style.height = `${height}px`;
  const canvas = box.appendChild(element("canvas"));
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${title}. ${about}`);
  drawn.push({ canvas, config: typeof config === "function" ? config : () => config });
  draw(drawn[drawn.length - 1]);
}
const pair = parent => (parent || document.getElementById("charts")).appendChild(element("div", undefined, "pair"));
const axis = (text, type, more) => Object.assign({ type: type || "linear", title: { display: true, text } }, more);
const plain = { maxRotation: 0, callback: value => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9 ?
  value.toLocaleString("en") : "" };
/* An axis of steps, which come whole. */
const wholeSteps = { min: 1, ticks: { precision: 0 } };
/* Chart.js draws lines in a legend solid, whatever they are in the chart. */
const legend = { position: "bottom", labels: { usePointStyle: true, boxWidth: 18, generateLabels: chart =>
  Chart.defaults.plugins.legend.labels.generateLabels(chart).map(item => ({ ...item,
    lineDash: chart.data.datasets[item.datasetIndex].borderDash })) } };
const named = { plugins: { legend,
  tooltip: { callbacks: { label: item => `${item.raw.name || item.dataset.label}: ${figure(item.parsed.y)}` } } } };

/* A long label of an axis in two lines. */
const broken = (name, most) => {
  const cut = name.length > most ? name.lastIndexOf(" ", most) : -1;
  return cut > 0 ? [name.slice(0, cut), name.slice(cut + 1)] : name;
};

/* Lines of a roofline: rates [[type, GFLOP/s]], ways [[where, GB/s]] from the farthest; reach: FLOP per byte. */
function roofs(rates, ways, reach) {
  return ways.flatMap(([where, speed], w) => rates.map(([type, rate], t) => {
    const ridge = rate / speed, start = t ? rates[0][1] / speed : reach[0];
    const data = [{ x: start, y: start * speed }, { x: ridge, y: rate }, { x: reach[1], y: rate }];
    return { label: `${type}, ${where}`, data, showLine: true, pointRadius: 0, pointHitRadius: 0, borderWidth: 2,
      pointStyle: "line", borderColor: css("--soft"), borderDash: w ? [5, 4] : [] };
  }));
}
