// Draws every chart: those in view first, then all others while the browser is idle; and all of them before a print.

const root = document.documentElement;
const drawn = new Set();
const waiting = [];
const breathe = window.requestIdleCallback || ((callback) => setTimeout(callback, 1));
let busy = false;

function draw(place) {
  const [traces, shape] = charts[place.dataset.chart]();
  if (!traces.some((trace) => (trace.x || []).length)) {
    place.closest("figure").querySelectorAll(".which").forEach((label) => label.remove());
    place.replaceWith(Object.assign(element("p", "There is nothing to draw yet."), { className: "note" }));
    drawn.delete(place);
    return;
  }
  const size = { width: place.clientWidth, height: place.clientHeight };  // now: Plotly itself would look at it later
  Plotly.react(place, traces, { ...shape, ...size }, config());
  const height = place._fullLayout._size.h;
  if (shape.legend.y < 0 && height * -shape.legend.y < 44) Plotly.relayout(place, { "legend.y": -50 / height });  // below the axis' title
  if (!drawn.has(place)) {
    place.on("plotly_click", (event) => openTrial(event.points[0].customdata));
    place.on("plotly_relayout", () => retick(place));
  }
  drawn.add(place);
}

function next() {
  const place = waiting.shift();
  if (!place) { busy = false; root.dataset.drawn = "all"; return; }
  try { if (place.isConnected) draw(place); } finally { breathe(next); }
}

function ask(place, soon) {
  const at = waiting.indexOf(place);
  if (at >= 0) waiting.splice(at, 1);
  if (soon) waiting.unshift(place); else waiting.push(place);
  if (!busy) { busy = true; delete root.dataset.drawn; breathe(next); }
}

if (!data.efficiency || !data.efficiency.memory.some((value) => value !== null)) byId("memory-figure").remove();
if (!data.efficiency) for (const gone of [byId("efficiency"), document.querySelector('nav a[href="#efficiency"]')]) gone.remove();
const places = [...document.querySelectorAll("main [data-chart]")];

function redraw() {
  if (root.classList.contains("printing")) return;  // as wide as the sheet already
  [...drawn].filter((place) => place.isConnected && place.offsetParent).forEach((place) => ask(place));
}

let [width, resized] = [window.innerWidth, null];
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;  // the bar of a phone's browser comes and goes
  width = window.innerWidth;
  clearTimeout(resized);
  resized = setTimeout(redraw, 150);
});

// ---------------------------------------------------------------- controls of charts

function fill(id, names, at) {
  const select = byId(id);
  if (!select) return;
  select.append(...names.map(([value, text]) => Object.assign(element("option", text), { value })));
  if (names.length > at) select.selectedIndex = at;
}

const varied = trials.params.map((param) => param.name).filter((name) => new Set(complete.map((number) => valuesOf(name)[rowOf.get(number)]).filter((value) => value !== null)).size > 1);
const measured = varied.filter((name) => !scaleOf(name).order);  // of many values: they say more than a switch does
const ordered = [...new Set([...data.parallel.filter((name) => varied.includes(name)), ...measured, ...varied])].map((name) => [name, name]);
for (const id of ["history-which", "slice-which", "contour-which"]) fill(id, Object.entries(OBJECTIVES), 0);
fill("slice-param", ordered, 0);
fill("contour-x", ordered, 0);
fill("contour-y", ordered, 1);
for (const [chart, needed] of [["slice", 1], ["contour", 2]]) if (ordered.length < needed) charts[chart] = () => [[], {}];
for (const control of document.querySelectorAll("select[data-for]")) {
  const place = document.querySelector(`[data-chart="${control.dataset.for}"]`);
  control.addEventListener("change", () => { if (place.isConnected) ask(place, true); });
}

// ---------------------------------------------------------------- paper, light and dark

let before;
function toPaper() {  // on paper all is light and open, and as wide as a sheet
  if (root.classList.contains("printing")) return;
  before = { theme: root.dataset.theme, closed: [...document.querySelectorAll("details:not([open])")] };
  root.dataset.theme = "light";
  root.classList.add("printing");
  before.closed.forEach((part) => { part.open = true; });
  table();
  waiting.length = 0;
  places.filter((place) => place.isConnected).forEach(draw);
}
function toScreen() {
  if (!root.classList.contains("printing")) return;
  root.classList.remove("printing");
  before.closed.forEach((part) => { part.open = false; });
  if (before.theme === undefined) delete root.dataset.theme;
  else root.dataset.theme = before.theme;
  table();
  redraw();
}
window.addEventListener("beforeprint", toPaper);
window.addEventListener("afterprint", toScreen);
matchMedia("print").addEventListener("change", (paper) => (paper.matches ? toPaper() : toScreen()));

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
byId("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  redraw();
});
