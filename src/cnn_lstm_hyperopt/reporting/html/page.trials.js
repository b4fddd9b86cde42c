// Trials: the details of one, the best of the front within limits, and the table of all.

// ---------------------------------------------------------------- one trial

let openNumber = null;
let opener = null;

function pairs(rows) {
  const list = document.createElement("dl");
  for (const [name, value] of rows) list.append(element("dt", name), element("dd", value));
  return list;
}

function factsOf(row) {
  const known = (value, write) => (value === null || value === undefined ? null : write(value));
  const rows = [
    ["State", trials.state[row]],
    [trials.state[row] === "COMPLETE" ? data.objective : `${data.objective} reached`, known(trials.score[row], score)],
    ["Training time", known(trials.seconds[row], seconds)],
    ["Size", known(trials.mb[row], megabytes)],
    ["Epochs", known(trials.epochs[row], figure)],
    ["Place on the front", onFront.has(trials.number[row]) ? String(data.front.indexOf(trials.number[row]) + 1) : null],
    ["Worker", known(trials.worker[row], String)],
    ["By the clock", trials.start[row] === null || trials.end[row] === null ? null : seconds(trials.end[row] - trials.start[row])],
    ["Repeats trial", known(trials.retry_of[row], String)],
    ["Why it ended", trials.reason[row] || (trials.state[row] === "COMPLETE" ? "all its epochs are done, or its patience is" : null)],
  ];
  return rows.filter(([, value]) => value !== null);
}

function paramsOf(row) {
  return trials.params.filter(({ values }) => values[row] !== null).map(({ name, values }) => [name, shown(values[row])]);
}

function openTrial(number) {
  if (number === null || number === undefined || !rowOf.has(number)) return;
  const row = rowOf.get(number);
  if (onFront.has(number)) choose(number, true);
  if (openNumber === null) opener = document.activeElement;
  openNumber = number;
  byId("trial-name").textContent = `Trial ${number}`;
  byId("trial-facts").replaceChildren(pairs(factsOf(row)));
  byId("trial-params").replaceChildren(pairs(paramsOf(row)));
  byId("trial").hidden = false;
  const place = byId("trial-curve");
  place.hidden = curveOf(number) === null;
  if (!place.hidden) draw(place);
  byId("trial").scrollTop = 0;
  byId("trial-close").focus({ preventScroll: true });
}

function closeTrial() {
  if (openNumber === null) return;
  openNumber = null;
  byId("trial").hidden = true;
  if (opener && opener.isConnected) opener.focus({ preventScroll: true });
}

byId("trial-close").addEventListener("click", closeTrial);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeTrial(); });

// ---------------------------------------------------------------- the front: choosing a trial, the best within limits

function ring() {
  const place = document.querySelector('[data-chart="front"]');
  if (!place || !place.data || chosen === null) return;
  const row = rowOf.get(chosen);
  Plotly.restyle(place, { x: [[trials.seconds[row]]], y: [[trials.score[row]]] }, [2]);
}

function choose(number, scroll) {
  chosen = number;
  const row = rowOf.get(number);
  const body = document.querySelector("#front-table tbody");
  for (const line of body.rows) line.classList.toggle("chosen", Number(line.dataset.trial) === number);
  const line = body.querySelector("tr.chosen");
  if (line && scroll) line.parentElement.closest(".scroll").scrollTop = line.offsetTop - 60;
  byId("detail").replaceChildren(element("h3", `Trial ${number}: ${score(trials.score[row])}, ${seconds(trials.seconds[row])}, ${megabytes(trials.mb[row])}`), pairs(paramsOf(row)));
  ring();
}

if (data.front.length) {
  const levels = (name) => [...new Set(column(name, data.front))].sort((a, b) => a - b);
  const [times, sizes] = [levels("seconds"), levels("mb")];
  const pick = () => {
    const [most, largest] = [times[byId("seconds").value], sizes[byId("mb").value]];
    for (const [id, text] of [["seconds", seconds(most)], ["mb", megabytes(largest)]]) {
      byId(`${id}-out`).textContent = text;
      byId(id).setAttribute("aria-valuetext", text);
    }
    // The front is in the order of its ranks, so the first that keeps both limits is the best that does.
    const best = data.front.find((number) => trials.seconds[rowOf.get(number)] <= most && trials.mb[rowOf.get(number)] <= largest);
    byId("picked").dataset.trial = best === undefined ? "" : best;
    byId("picked").textContent = best === undefined ? "No trial of the front keeps both." : `Best within both: trial ${best}, ${data.objective} ${score(trials.score[rowOf.get(best)])}, ${seconds(trials.seconds[rowOf.get(best)])}, ${megabytes(trials.mb[rowOf.get(best)])}.`;
    if (best !== undefined) choose(best, true);
  };
  for (const [id, values] of [["seconds", times], ["mb", sizes]]) {
    byId(id).max = values.length - 1;
    byId(id).value = values.length - 1;
    byId(id).addEventListener("input", pick);
  }
  document.querySelector("#front-table tbody").addEventListener("click", (event) => {
    const line = event.target.closest("tr");
    if (line) openTrial(Number(line.dataset.trial));
  });
  pick();
}

// ---------------------------------------------------------------- all trials, 25 a page

const SIZE = 25;
const PRINTED = 100;  // max. rows on paper
let page = 0;
for (const state of new Set(trials.state)) byId("state").append(element("option", state));
function table() {
  const size = root.classList.contains("printing") ? PRINTED : SIZE;
  const [state, by] = [byId("state").value, byId("sort").value];
  const rows = trials.number.map((_, row) => row).filter((row) => !state || trials.state[row] === state);
  const falling = by === "score" ? -1 : 1;
  rows.sort((a, b) => (trials[by][a] === null) - (trials[by][b] === null) || falling * (trials[by][a] - trials[by][b]) || a - b);
  const pages = Math.max(1, Math.ceil(rows.length / size));
  const at = Math.min(page, pages - 1);
  if (size === SIZE) page = at;
  const lines = rows.slice(at * size, (at + 1) * size);
  byId("page").textContent = `${rows.length ? at * size + 1 : 0}–${at * size + lines.length} of ${rows.length}`;
  byId("printed").textContent = lines.length < trials.number.length ? `${lines.length} of ${trials.number.length} trials; all are in trials.csv.` : `All ${lines.length} trials.`;
  byId("back").disabled = at === 0;
  byId("on").disabled = at === pages - 1;
  const known = (value) => (value === null ? "–" : figure(value));
  const titles = [...byId("all").tHead.rows[0].cells].map((cell) => cell.textContent);
  byId("all").tBodies[0].replaceChildren(...lines.map((row) => {
    const line = document.createElement("tr");
    line.dataset.trial = trials.number[row];
    [trials.number[row], trials.state[row], score(trials.score[row]), known(trials.seconds[row]), known(trials.mb[row]), known(trials.epochs[row]), trials.reason[row]].forEach((text, k) => {
      const cell = element("td", k ? text : "");
      if (!k) cell.append(Object.assign(element("button", text), { type: "button", className: "link" }));
      if (k !== 1 && k !== 6) cell.className = "num";
      cell.dataset.label = titles[k];
      line.append(cell);
    });
    return line;
  }));
}
for (const id of ["state", "sort"]) byId(id).addEventListener("change", () => { page = 0; table(); });
byId("back").addEventListener("click", () => { page -= 1; table(); });
byId("on").addEventListener("click", () => { page += 1; table(); });
byId("all").tBodies[0].addEventListener("click", (event) => {
  const line = event.target.closest("tr");
  if (line) openTrial(Number(line.dataset.trial));
});
table();

// ---------------------------------------------------------------- begin

const prunedShown = data.curves.pruned.length;
if (!data.curves.finalists.length) byId("curves-lead").textContent = "Shown once trials are on the front.";
else byId("curves-lead").textContent = `Of the best ${data.curves.finalists.length === 1 ? "trial" : `${data.curves.finalists.length} trials`} during the search, and of ${prunedShown === data.curves.of_pruned ? prunedShown : `${prunedShown} of ${data.curves.of_pruned}`} pruned ones in grey.`;

const first = places.find((place) => place.dataset.chart === "front");
if (first) draw(first);  // while the page loads: the first chart takes longest, for Plotly measures its letters
places.filter((place) => place !== first).forEach((place) => ask(place));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); if (waiting.includes(entry.target)) ask(entry.target, true); }
}, { rootMargin: "300px" });
places.filter((place) => place !== first).forEach((place) => seen.observe(place));
