// Charts of the search itself: history, slice, contour, parallel coordinates, timeline.

const OBJECTIVES = { score: data.objective, seconds: "training time (s)", mb: "size (MB)" };
const valuesOf = (name) => trials.params.find((param) => param.name === name).values;
const objectiveAxis = (which, numbers, title = OBJECTIVES[which]) => (which === "score" ? axis(title) : logAxis(title, column(which, numbers)));

charts.history = () => {
  const which = byId("history-which").value;
  const pruned = which === "score" ? inState("PRUNED").filter((number) => trials.score[rowOf.get(number)] !== null) : [];
  const [done, ended] = [spread(complete), spread(pruned)];
  const best = { name: "best so far", x: [], y: [], type: "scatter", mode: "lines", line: { shape: "hv", color: color("--orange"), width: 2 }, hoverinfo: "skip" };
  let reached = which === "score" ? -Infinity : Infinity;
  for (const number of complete) {
    const value = trials[which][rowOf.get(number)];
    reached = which === "score" ? Math.max(reached, value) : Math.min(reached, value);
    best.x.push(number); best.y.push(reached);
  }
  const traces = [
    points(`pruned, at its best epoch${countNote(ended, pruned)}`, ended, ended, column(which, ended), { color: color("--grey"), size: 5, symbol: "x-thin-open" }),
    points(`complete${countNote(done, complete)}`, done, done, column(which, done), { color: color("--accent"), size: 6, opacity: 0.7 }),
    best,
  ].filter((trace) => trace.x.length);
  return [traces, layout({ xaxis: axis("trial"), yaxis: objectiveAxis(which, complete) })];
};

// ---------------------------------------------------------------- parameters as axes

// Where a parameter's values lie on an axis: numbers by value or logarithm, others (and few numbers) side by side.
function scaleOf(name) {
  const distinct = [...new Set(complete.map((number) => valuesOf(name)[rowOf.get(number)]).filter((value) => value !== null))];
  if (distinct.every((value) => typeof value === "number") && distinct.length > 6) {
    const [low, high] = [least(distinct), greatest(distinct)];
    const log = low > 0 && high / low > 50;
    return { log, low: log ? Math.log10(low) : low, high: log ? Math.log10(high) : high, at: log ? Math.log10 : (value) => value };
  }
  const order = distinct.sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b))));
  const place = new Map(order.map((value, k) => [value, k]));
  return { order, low: 0, high: order.length - 1, at: (value) => place.get(value) };
}

function scaleAxis(name, scale) {
  const title = plain(name);
  if (scale.order) return axis(title, { tickvals: scale.order.map((_, k) => k), ticktext: scale.order.map((value) => plain(shortened(shown(value)))), range: [-0.5, scale.order.length - 0.5] });
  const margin = 0.04 * (scale.high - scale.low || 1);
  const range = [scale.low - margin, scale.high + margin];
  if (!scale.log) return axis(title, { range });
  const { tickvals, ticktext } = ticksOf(range);
  return axis(title, { range, tickvals: tickvals.map(Math.log10), ticktext });
}

const shortened = (text) => (text.length > 24 ? text.slice(0, 23) + "…" : text);
const jitter = (number, turn = 0.618034) => ((number * turn) % 1) - 0.5;  // spread evenly, the same each time
const having = (names) => complete.filter((number) => names.every((name) => valuesOf(name)[rowOf.get(number)] !== null));

charts.slice = () => {
  const [name, which] = [byId("slice-param").value, byId("slice-which").value];
  const numbers = having([name]);
  const drawn = spread(numbers);
  const scale = scaleOf(name);
  const x = drawn.map((number) => scale.at(valuesOf(name)[rowOf.get(number)]) + (scale.order ? 0.5 * jitter(number) : 0));
  const bar = { title: { text: "trial" }, thickness: narrow() ? 8 : 12, outlinewidth: 0 };
  const dots = points(`completed trials${countNote(drawn, numbers)}`, drawn, x, column(which, drawn), { color: drawn, colorscale: "Viridis", size: 7, opacity: 0.8, line: { color: color("--soft"), width: 0.5 }, showscale: true, colorbar: bar });
  dots.hovertext = drawn.map((number) => `${oneLine(number)}<br>${plain(name)} ${plain(shown(valuesOf(name)[rowOf.get(number)]))}`);
  return [[dots], layout({ xaxis: { ...scaleAxis(name, scale), fixedrange: true }, yaxis: objectiveAxis(which, numbers), showlegend: drawn.length < numbers.length })];
};

const STEPS = 30;
const ENOUGH_WEIGHT = 1.5;

// The mean of near trials, weighted by a Gaussian of their distance (Nadaraya 1964, Watson 1964); none where there are too few.
function smoothed(xs, ys, zs, grid, width) {
  const weight = (a, b, scale) => (scale.order ? (a === b ? 1 : 0) : Math.exp(-0.5 * (((a - b) / ((scale.high - scale.low || 1) * width)) ** 2)));
  const across = grid.x.places.map((place) => xs.map((x) => weight(place, x, grid.x.scale)));
  const up = grid.y.places.map((place) => ys.map((y) => weight(place, y, grid.y.scale)));
  return up.map((row) => across.map((col) => {
    let [sum, total] = [0, 0];
    for (let k = 0; k < zs.length; k += 1) { const w = row[k] * col[k]; total += w; sum += w * zs[k]; }
    return total >= (grid.x.scale.order && grid.y.scale.order ? 1 : ENOUGH_WEIGHT) ? sum / total : null;
  }));
}

charts.contour = () => {
  const [across, up, which] = ["contour-x", "contour-y", "contour-which"].map((id) => byId(id).value);
  const numbers = spread(having([across, up]), 1500);
  const scales = [scaleOf(across), scaleOf(up)];
  const [xs, ys] = [across, up].map((name, k) => numbers.map((number) => scales[k].at(valuesOf(name)[rowOf.get(number)])));
  const turn = which === "score" ? (value) => value : Math.log10;
  const zs = column(which, numbers).map(turn);
  const places = scales.map((scale) => (scale.order ? scale.order.map((_, k) => k) : Array.from({ length: STEPS }, (_, k) => scale.low + (k / (STEPS - 1)) * (scale.high - scale.low))));
  const grid = { x: { places: places[0], scale: scales[0] }, y: { places: places[1], scale: scales[1] } };
  const z = smoothed(xs, ys, zs, grid, Math.min(0.25, 0.3 * numbers.length ** (-1 / 6)));
  const values = z.flat().filter((value) => value !== null);
  const bar = { title: { text: narrow() ? "" : OBJECTIVES[which], side: "right" }, thickness: narrow() ? 8 : 12, outlinewidth: 0, ...(which === "score" || !values.length ? {} : sizeTicks(values.map((value) => 10 ** value))) };
  const flat = scales.some((scale) => scale.order);
  const field = { type: flat ? "heatmap" : "contour", x: places[0], y: places[1], z, colorscale: "Viridis", reversescale: which !== "score", hoverinfo: "skip", colorbar: bar, ...(flat ? { xgap: 1, ygap: 1 } : { contours: { coloring: "heatmap", showlines: true }, line: { width: 0.5, color: "rgba(255,255,255,.5)" }, connectgaps: false }) };
  const dots = spread(numbers, 400);
  const at = new Map(numbers.map((number, k) => [number, k]));
  const place = (number, list, scale, turn) => list[at.get(number)] + (scale.order ? 0.6 * jitter(number, turn) : 0);
  const marks = points(`trials${countNote(dots, having([across, up]))}`, dots, dots.map((number) => place(number, xs, scales[0])), dots.map((number) => place(number, ys, scales[1], 0.7548777)), { size: 5, color: "#ffffff", line: { color: "#1b2430", width: 1 } });
  return [[field, marks], layout({ xaxis: { ...scaleAxis(across, scales[0]), fixedrange: true }, yaxis: { ...scaleAxis(up, scales[1]), fixedrange: true }, showlegend: dots.length < numbers.length })];
};

// ---------------------------------------------------------------- parallel coordinates

charts.parallel = () => {
  const which = byId("parallel-which").value;
  let numbers = spread(complete);
  if (which === "front") numbers = data.front;
  if (which === "best") numbers = [...complete].sort((a, b) => trials.score[rowOf.get(b)] - trials.score[rowOf.get(a)]).slice(0, Math.max(1, Math.ceil(complete.length / 10)));
  const names = data.parallel.slice(0, narrow() ? 4 : 8).filter((name) => trials.params.some((param) => param.name === name));
  const scales = names.map(scaleOf);
  const height = (scale, value) => (scale.order ? (scale.high ? scale.at(value) / scale.high : 0.5) : (scale.at(value) - scale.low) / (scale.high - scale.low || 1));
  const sorted = column("score", complete).sort((a, b) => a - b);
  const rank = new Map(sorted.map((value, k) => [value, k]));
  const shades = [["--grey", 0.3], ["--grey", 0.45], ["--accent", 0.35], ["--accent", 0.6], ["--orange", 0.9]];
  const traces = shades.map(([shade, opacity], k) => ({ name: k === 0 ? "lowest fifth" : k === shades.length - 1 ? "highest fifth" : "", showlegend: k === 0 || k === shades.length - 1, x: [], y: [], type: "scatter", mode: "lines", line: { color: color(shade), width: which === "all" ? 1 : 2 }, opacity, hoverinfo: "skip" }));
  for (const number of numbers) {
    const row = rowOf.get(number);
    const trace = traces[Math.min(shades.length - 1, Math.floor((rank.get(trials.score[row]) / sorted.length) * shades.length))];
    names.forEach((name, k) => {
      const value = valuesOf(name)[row];
      trace.x.push(value === null ? null : k); trace.y.push(value === null ? null : height(scales[k], value));
    });
    trace.x.push(null); trace.y.push(null);
  }
  const ends = (scale) => (scale.order ? scale.order.map((value, k) => [shortened(shown(value)), scale.high ? k / scale.high : 0.5]) : [[figure(Number((scale.log ? 10 ** scale.low : scale.low).toPrecision(3))), 0], [figure(Number((scale.log ? 10 ** scale.high : scale.high).toPrecision(3))), 1]]);
  const labels = names.flatMap((_, k) => ends(scales[k]).map(([text, y]) => ({ x: k, y, text: plain(text), showarrow: false, xanchor: "left", xshift: 4, font: { size: 10.5, color: color("--text") }, bgcolor: color("--card"), opacity: 0.9 })));
  const lines = names.map((_, k) => ({ type: "line", x0: k, x1: k, y0: 0, y1: 1, line: { color: color("--soft"), width: 1 } }));
  return [traces, layout({ annotations: labels, shapes: lines, xaxis: { tickvals: names.map((_, k) => k), ticktext: names.map((name) => plain(name).replace(/[._]/g, "<br>")), range: [narrow() ? -0.35 : -0.1, names.length - 0.45], showgrid: false, zeroline: false, fixedrange: true }, yaxis: { visible: false, range: [-0.04, 1.06], fixedrange: true }, margin: { l: 16, r: 16, t: 24, b: 90 }, legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom" } })];
};

// ---------------------------------------------------------------- timeline

charts.timeline = () => {
  const begun = trials.number.filter((number) => trials.start[rowOf.get(number)] !== null);
  const last = greatest([...trials.start, ...trials.end].filter((value) => value !== null));
  const [unit, name] = last < 300 ? [1, "seconds"] : last < 3 * 3600 ? [60, "minutes"] : [3600, "hours"];
  const lanes = lanesOf(begun, last);
  const traces = Object.keys(STATE_COLORS).map((state) => ({ name: state, x: [], y: [], customdata: [], hovertext: [], hoverinfo: "text", type: "scatter", mode: "lines", line: { color: color(STATE_COLORS[state]), width: Math.max(2, Math.min(11, 150 / lanes.names.length)) } }));
  for (const number of begun) {
    const row = rowOf.get(number);
    const trace = traces[Object.keys(STATE_COLORS).indexOf(trials.state[row])];
    const [from, to] = [trials.start[row], trials.end[row] === null ? last : trials.end[row]];
    const text = `${oneLine(number)}<br>${trials.state[row]}, ${seconds(to - from)} by the clock`;
    trace.x.push(from / unit, to / unit, null); trace.y.push(lanes.at.get(number), lanes.at.get(number), null);
    trace.customdata.push(number, number, null); trace.hovertext.push(text, text, "");
  }
  return [traces.filter((trace) => trace.x.length), layout({ xaxis: axis(narrow() ? name : `${name} since the first trial began`, { rangemode: "tozero" }), yaxis: axis("", { tickvals: lanes.names.map((_, k) => k), ticktext: lanes.names, range: [lanes.names.length - 0.4, -0.6], tickfont: { size: lanes.names.length > 12 ? 8 : 12 }, showgrid: false, fixedrange: true }) })];
};

// A lane for each worker; where workers are not known, the first lane that is free.
function lanesOf(numbers, last) {
  const workers = [...new Set(column("worker", numbers))].filter((worker) => worker !== null).sort((a, b) => a - b);
  const names = workers.map((worker) => `worker ${worker}`);
  const at = new Map();
  const free = [];
  const begin = (number) => trials.start[rowOf.get(number)];
  for (const number of [...numbers].sort((a, b) => begin(a) - begin(b))) {
    const worker = trials.worker[rowOf.get(number)];
    if (worker !== null) { at.set(number, workers.indexOf(worker)); continue; }
    let lane = free.findIndex((end) => end <= begin(number));
    if (lane < 0) { lane = free.length; names.push(`${workers.length ? "worker not known" : "process"} ${lane + 1}`); }
    const end = trials.end[rowOf.get(number)];
    free[lane] = end === null ? last : end;
    at.set(number, workers.length + lane);
  }
  return { at, names };
}
