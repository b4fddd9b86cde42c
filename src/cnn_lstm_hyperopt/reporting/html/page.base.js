// The numbers of the page, and what all charts share: formats, colours, axes, layout.

const data = JSON.parse(document.getElementById("payload").textContent);
const trials = data.trials;
const rowOf = new Map(trials.number.map((number, row) => [number, row]));
const onFront = new Set(data.front);
const byId = (id) => document.getElementById(id);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const narrow = () => document.documentElement.clientWidth < 720 && !document.documentElement.classList.contains("printing");
const STATE_COLORS = { COMPLETE: "--accent", PRUNED: "--grey", FAIL: "--orange", RUNNING: "--good", WAITING: "--open" };

// ---------------------------------------------------------------- formats

const plain = (value) => String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");  // for Plotly
const seconds = (s) => (s === null ? "–" : s < 10 ? s.toPrecision(2) + " s" : s < 120 ? Math.round(s) + " s" : s < 7200 ? Math.round(s / 60) + " min" : (s / 3600).toFixed(1) + " h");
const megabytes = (mb) => (mb === null ? "–" : Number(mb.toPrecision(3)) + " MB");
const figure = (value) => (typeof value !== "number" || Number.isInteger(value) ? String(value) : value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(4))));
const shown = (value) => (value === true ? "yes" : value === false ? "no" : figure(value));
const score = (value) => (value === null ? "–" : value.toFixed(4));

function tickText(value) {
  const size = Math.abs(value);
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (size >= 1e5 && size >= unit) return Number((value / unit).toPrecision(4)) + letter;
  return size > 0 && size < 1e-4 ? value.toExponential().replace("e-", "e−") : String(Number(value.toPrecision(4)));
}

// ---------------------------------------------------------------- axes

// Every tick of a log axis shows its whole value: 1, 2 and 5 of each decade where there is room, else decades alone; more within a decade.
function logTicks(low, high, most) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const within = (digits, every) => {
    const found = [];
    for (let power = Math.ceil(first / every) * every; power <= last; power += every) found.push(...digits.map((digit) => Number(`${digit}e${power}`)));
    return found.filter((value) => value >= low && value <= high);
  };
  const sets = high / low < 10 ? [[1, 1.5, 2, 3, 5, 7], [1, 2, 5]] : [[1, 2, 5], [1, 3], [1]];
  const fits = sets.map((digits) => within(digits, 1)).find((found) => found.length <= most && found.length >= (high / low < 10 ? 4 : 3));
  if (fits) return fits;
  if (within([1], 1).length > most) return within([1], Math.ceil((last - first) / most));
  const rough = (high - low) / Math.min(most, 5);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 2.5, 5, 10].find((factor) => factor * unit >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k += 1) found.push(Number((k * step).toPrecision(12)));
  return found.filter((value) => value > 0);
}

const tickRoom = () => (narrow() ? 5 : 8);
const ticksOf = (range) => {
  const tickvals = logTicks(10 ** Math.min(...range), 10 ** Math.max(...range), tickRoom());
  return { tickmode: "array", tickvals, ticktext: tickvals.map(tickText) };
};
const axis = (title, more) => ({
  title: { text: title, standoff: 8 }, gridcolor: color("--line"), linecolor: color("--line"), zeroline: false, automargin: true, ...more,
});

// A log axis over these values; a linear one where there is nothing above 0.
function logAxis(title, values, more) {
  const positive = values.filter((value) => value > 0).map(Math.log10);
  if (!positive.length) return axis(title, more);
  const [low, high] = [least(positive), greatest(positive)];
  const margin = Math.max(0.04 * (high - low), 0.03);
  const range = [low - margin, high + margin];
  return axis(title, { type: "log", range, ...ticksOf(range), ...more });
}

// After zooming into a log axis other values are ticks.
function retick(place) {
  const changed = {};
  for (const name of ["xaxis", "yaxis"]) {
    const now = place._fullLayout[name];
    if (!now || now.type !== "log" || now.tickmode !== "array") continue;
    const wanted = ticksOf(now.range);
    if (String(wanted.tickvals) !== String(now.tickvals)) Object.assign(changed, { [`${name}.tickvals`]: wanted.tickvals, [`${name}.ticktext`]: wanted.ticktext });
  }
  if (Object.keys(changed).length) Plotly.relayout(place, changed);
}

const least = (values) => values.reduce((a, b) => (b < a ? b : a), Infinity);  // Math.min(...values) fails with very many
const greatest = (values) => values.reduce((a, b) => (b > a ? b : a), -Infinity);

// ---------------------------------------------------------------- layout

const config = () => ({ displaylogo: false, displayModeBar: matchMedia("(pointer: coarse)").matches || narrow() ? false : "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
const layout = (more) => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: color("--text"), family: "system-ui, sans-serif", size: 13 },
  margin: { l: 58, r: 16, t: 24, b: 48 }, hoverlabel: { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--text") }, align: "left" },
  legend: { orientation: "h", y: -0.2, yanchor: "top", x: 0, itemsizing: "constant" },  // below: above, the toolbar covers it
  modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--soft"), activecolor: color("--text") },
  dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", hovermode: "closest", ...more,  // a finger scrolls
});

// ---------------------------------------------------------------- trials

const column = (name, numbers) => numbers.map((number) => trials[name][rowOf.get(number)]);
const inState = (...states) => trials.number.filter((_, row) => states.includes(trials.state[row]));
const complete = inState("COMPLETE");
const oneLine = (number) => {
  const row = rowOf.get(number);
  return `trial ${number}: ${score(trials.score[row])}, ${seconds(trials.seconds[row])}, ${megabytes(trials.mb[row])}`;
};

// Evenly spread over the study: an SVG of more points than this is slow, and shows no more.
const MOST_DRAWN = 1000;
function spread(numbers, most = MOST_DRAWN) {
  if (numbers.length <= most) return numbers;
  return Array.from({ length: most }, (_, k) => numbers[Math.floor((k * numbers.length) / most)]);
}
const countNote = (drawn, of) => (drawn.length < of.length ? ` (${drawn.length.toLocaleString("en")} of ${of.length.toLocaleString("en")} drawn)` : "");

// A trace with a point for each trial, which a click opens.
const points = (name, numbers, x, y, marker, more) => ({
  name, x, y, customdata: numbers, hovertext: numbers.map(oneLine), hoverinfo: "text", type: "scatter", mode: "markers", marker, ...more,
});

function about(number) {
  const row = rowOf.get(number);
  const groups = new Map();
  for (const { name, values } of trials.params) {
    if (values[row] === null) continue;
    const [group, short] = name.includes(".") ? name.split(/\.(.*)/) : ["", name];
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(`${plain(short)} ${plain(figure(values[row]))}`);
  }
  const lines = [...groups].flatMap(([group, parts]) => {
    const wrapped = [];
    for (let i = 0; i < parts.length; i += 3) wrapped.push((i ? "   " : `<b>${plain(group)}</b> `) + parts.slice(i, i + 3).join(", "));
    return wrapped;
  });
  return [`<b>${oneLine(number)}</b>`, ...lines].join("<br>");
}

// The learning curve of a trial: its epochs and scores; null without a point.
function curveOf(number) {
  const stored = trials.curve[rowOf.get(number)];
  if (!stored) return null;
  const [scores, epochs] = stored;
  return { epoch: epochs || scores.map((_, k) => k + 1), score: scores };
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
