"use strict";
(() => {
// Draws the figures that Python made, and links them with the tables, the budget sliders and the details of one trial.

const byId = (id) => document.getElementById(id);
const root = document.documentElement;
const data = JSON.parse(byId("payload").textContent);
const trials = data.trials;
const rowOf = new Map(trials.number.map((number, row) => [number, row]));
const finger = matchMedia("(pointer: coarse)").matches;  // it scrolls, and does not zoom into charts
const printing = () => root.classList.contains("printing");
const narrow = () => root.clientWidth < 720 && !printing();

// ---------------------------------------------------------------- values as text
const figure = (value) => {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
};
const score = (value) => value.toFixed(4);
const megabytes = (mb) => `${Number(mb.toPrecision(3))} MB`;
const seconds = (s) => {
  if (s < 120) return s < 10 ? `${s.toPrecision(2)} s` : `${Math.round(s)} s`;
  return s < 7200 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`;
};
const known = (value, write = figure) => (value === null ? "–" : write(value));
const about = (number) => [["score", score], ["seconds", seconds], ["mb", megabytes]]
  .map(([name, write]) => known(trials[name][rowOf.get(number)], write)).join(", ");
const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });
const pairs = (rows) => {
  const list = document.createElement("dl");
  for (const [name, value, write = figure] of rows) if (value !== null) list.append(element("dt", name), element("dd", write(value)));
  return list;
};

// ---------------------------------------------------------------- charts
const selectsOf = (place) => [...place.parentElement.querySelectorAll("select")];

// The figure of a chart for what its selects say, in the colours of the page as it is now.
function figureOf(place) {
  const style = getComputedStyle(root);
  const colours = Object.fromEntries(Object.entries(data.colours).map(([light, name]) => [light, style.getPropertyValue(`--${name}`).trim()]));
  const now = (_, value) => colours[value] || value;
  const variants = JSON.parse(byId(`figure-${place.dataset.chart}`).textContent, now);
  const { traces, layout } = variants[selectsOf(place).map((select) => select.value).join("|")];
  for (const trace of traces.filter((each) => each.customdata && !each.hoverinfo)) {
    trace.hoverinfo = "text";
    trace.hovertext = trace.customdata.map((number) => (number === null ? "" : `trial ${number}: ${about(number)}`));
  }
  if (narrow()) Object.assign(layout.xaxis, (layout.meta || {}).narrow);
  layout.template = { layout: JSON.parse(JSON.stringify(data.template), now) };
  return { traces, layout: { ...layout, dragmode: finger ? false : "zoom", width: place.clientWidth, height: place.clientHeight } };
}

function draw(place) {
  const { traces, layout } = figureOf(place);
  if (place.id === "trial-curve") [traces[0].x, traces[0].y] = trials.curve[rowOf.get(openNumber)];
  const bar = { displayModeBar: finger || narrow() ? false : "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  Plotly.react(place, traces, layout, { displaylogo: false, ...bar });
  if (!place.dataset.linked) place.on("plotly_click", (event) => openTrial(event.points[0].customdata));
  place.dataset.linked = "yes";
  if (place.dataset.chart === "front") ring();
}

// All charts are drawn while the browser is idle, those near to what is in view first.
const places = [...document.querySelectorAll("main [data-chart]")];
const waiting = new Set();
const breathe = window.requestIdleCallback || ((callback) => setTimeout(callback, 1));

function next() {
  const away = (place) => Math.abs(place.getBoundingClientRect().top - innerHeight / 2);
  const place = [...waiting].sort((a, b) => away(a) - away(b))[0];
  waiting.delete(place);
  try { if (place) draw(place); } finally {
    if (waiting.size) breathe(next);
    else root.dataset.drawn = "all";
  }
}

function redraw(these = places) {
  if (printing()) return;  // as wide as the sheet already
  if (!waiting.size) breathe(next);
  these.forEach((place) => waiting.add(place));
  delete root.dataset.drawn;
}

for (const place of places) selectsOf(place).forEach((each) => each.addEventListener("change", () => redraw([place])));
let [width, resized] = [innerWidth, null];
addEventListener("resize", () => {
  if (innerWidth === width) return;  // the bar of a phone's browser comes and goes
  width = innerWidth;
  clearTimeout(resized);
  resized = setTimeout(redraw, 150);
});

// ---------------------------------------------------------------- one trial
let [openNumber, opener] = [null, null];

function factsOf(number) {
  const of = (name) => trials[name][rowOf.get(number)];
  const complete = of("state") === "COMPLETE";
  return pairs([
    ["State", of("state")],
    [complete ? data.objective : `${data.objective} reached`, of("score"), score],
    ["Training time", of("seconds"), seconds],
    ["Size", of("mb"), megabytes],
    ["Epochs", of("epochs")],
    ["Place on the front", data.front.includes(number) ? data.front.indexOf(number) + 1 : null],
    ["Worker", of("worker")],
    ["By the clock", of("start") === null || of("end") === null ? null : of("end") - of("start"), seconds],
    ["Repeats trial", of("retry_of")],
    ["Why it ended", of("reason") || (complete ? "all its epochs are done, or its patience is" : null)],
  ]);
}
const paramsOf = (number) => pairs(trials.params.map(({ name, values }) => [name, values[rowOf.get(number)]]));

function openTrial(number) {
  if (!rowOf.has(number)) return;
  if (data.front.includes(number)) choose(number);
  if (openNumber === null) opener = document.activeElement;
  openNumber = number;
  byId("trial-name").textContent = `Trial ${number}`;
  byId("trial-facts").replaceChildren(factsOf(number));
  byId("trial-params").replaceChildren(paramsOf(number));
  byId("trial").hidden = false;
  byId("trial-curve").hidden = !trials.curve[rowOf.get(number)];
  if (!byId("trial-curve").hidden) draw(byId("trial-curve"));
  byId("trial").scrollTop = 0;
  byId("trial-close").focus({ preventScroll: true });
}

function closeTrial() {
  if (openNumber === null) return;
  openNumber = null;
  byId("trial").hidden = true;
  if (opener.isConnected) opener.focus({ preventScroll: true });
}

byId("trial-close").addEventListener("click", closeTrial);
addEventListener("keydown", (event) => { if (event.key === "Escape") closeTrial(); });
const openRow = (event) => {
  const button = event.target.closest("tr").querySelector("button");
  if (button) openTrial(Number(button.textContent));
};

// ---------------------------------------------------------------- the table of all trials
const [ROWS, PRINTED_ROWS] = [25, 100];
const titles = [...byId("all").tHead.rows[0].cells].map((cell) => cell.textContent);
const link = (number) => `<button type="button" class="link">${number}</button>`;
// Trials without a value come last when a column is first sorted.
const number = (name, write = figure, orderSequence = ["asc", "desc"]) => ({
  data: name, className: "num", orderSequence, type: "num",
  render: (value, kind) => (kind === "display" ? known(value, write) : value ?? (orderSequence[0] === "asc" ? Infinity : -Infinity)),
});
const words = (name) => ({ data: name, render: DataTable.render.text(), defaultContent: "" });
const table = new DataTable("#all", {
  data: trials.number.map((_, row) => Object.fromEntries(Object.keys(trials).map((name) => [name, trials[name][row]]))),
  columns: [
    number("number", link), words("state"), number("score", score, ["desc", "asc"]), number("seconds"), number("mb"),
    number("epochs"), words("reason"),
  ],
  columnDefs: [{ targets: "_all", createdCell: (cell, value, row, at, column) => { cell.dataset.label = titles[column]; } }],
  layout: { topStart: [byId("state").parentElement, "search"], topEnd: ["info", "paging"], bottomStart: null, bottomEnd: null },
  language: { info: "_START_–_END_ of _TOTAL_ trials", infoEmpty: "no trial", infoFiltered: "(_MAX_ in all)" },
  pageLength: ROWS, pagingType: "simple_numbers", autoWidth: false, deferRender: true,
});
byId("state").addEventListener("change", (event) => table.column(1).search(event.target.value, { exact: true }).draw());
byId("all").tBodies[0].addEventListener("click", openRow);

// ---------------------------------------------------------------- the front: its chart, its table, the best within limits
let chosen = data.front[0];

function ring() {
  const [row, place] = [rowOf.get(chosen), document.querySelector('[data-chart="front"]')];
  if (place.data) Plotly.restyle(place, { x: [[trials.seconds[row]]], y: [[trials.score[row]]] }, [place.data.length - 1]);
}

function choose(number) {
  chosen = number;
  for (const line of byId("front-table").tBodies[0].rows) {
    line.classList.toggle("chosen", Number(line.dataset.trial) === number);
    if (line.matches(".chosen")) line.closest(".scroll").scrollTop = line.offsetTop - 60;
  }
  byId("detail").replaceChildren(element("h3", `Trial ${number}: ${about(number)}`), paramsOf(number));
  ring();
}

if (data.front.length) {
  new DataTable("#front-table", { paging: false, searching: false, info: false, autoWidth: false });
  byId("front-table").tBodies[0].addEventListener("click", openRow);
  const limits = [["seconds", seconds], ["mb", megabytes]].map(([id, write]) => {
    const levels = [...new Set(data.front.map((number) => trials[id][rowOf.get(number)]))].sort((a, b) => a - b);
    Object.assign(byId(id), { max: levels.length - 1, value: levels.length - 1 });
    return { id, write, level: () => levels[byId(id).value] };
  });
  const pick = () => {
    for (const { id, write, level } of limits) {
      byId(`${id}-out`).textContent = write(level());
      byId(id).setAttribute("aria-valuetext", write(level()));
    }
    // The front is in the order of its ranks, so the first within both limits is the best of them.
    const best = data.front.find((number) => limits.every(({ id, level }) => trials[id][rowOf.get(number)] <= level()));
    byId("picked").dataset.trial = best ?? "";
    byId("picked").textContent = best === undefined ? "No trial of the front is within both."
      : `Best within both: trial ${best}, ${data.objective} ${about(best)}.`;
    if (best !== undefined) choose(best);
  };
  limits.forEach(({ id }) => byId(id).addEventListener("input", pick));
  pick();
}

// ---------------------------------------------------------------- paper, light and dark
let before;
function toPaper() {  // on paper all is light and open, and as wide as a sheet
  if (printing()) return;
  before = { theme: root.dataset.theme, page: table.page(), closed: [...document.querySelectorAll("details:not([open])")] };
  root.dataset.theme = "light";
  root.classList.add("printing");
  before.closed.forEach((part) => { part.open = true; });
  table.page.len(PRINTED_ROWS).draw();
  waiting.clear();
  places.forEach(draw);
}
function toScreen() {
  if (!printing()) return;
  root.classList.remove("printing");
  before.closed.forEach((part) => { part.open = false; });
  if (before.theme === undefined) delete root.dataset.theme;
  else root.dataset.theme = before.theme;
  table.page.len(ROWS).page(before.page).draw("page");
  redraw();
}
addEventListener("beforeprint", toPaper);
addEventListener("afterprint", toScreen);
matchMedia("print").addEventListener("change", (paper) => (paper.matches ? toPaper() : toScreen()));
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => redraw());
byId("theme").addEventListener("click", () => {
  root.dataset.theme = (root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark" ? "light" : "dark";
  redraw();
});

places.slice(0, 1).forEach(draw);  // while the page loads: the first chart takes longest, because Plotly measures its letters
redraw(places.slice(1));
})();
