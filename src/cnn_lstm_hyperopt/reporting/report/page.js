"use strict";
(() => {
  const data = JSON.parse(document.getElementById("payload").textContent);
  const trials = data.trials;
  const rowOf = new Map(trials.number.map((number, row) => [number, row]));
  const onFront = new Set(data.front);
  const byId = (id) => document.getElementById(id);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const plain = (value) => String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const seconds = (s) => (s < 10 ? s.toPrecision(2) + " s" : s < 120 ? Math.round(s) + " s" : s < 7200 ? Math.round(s / 60) + " min" : (s / 3600).toFixed(1) + " h");
  const megabytes = (mb) => Number(mb.toPrecision(3)) + " MB";
  const figure = (value) => (typeof value !== "number" || Number.isInteger(value) ? String(value) : value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(4))));
  const score = (value) => (value === null ? "–" : value.toFixed(4));
  let chosen = data.front.length ? data.front[0] : null;

  // ---------------------------------------------------------------- what all charts share

  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const axis = (title, more) => ({
    title: { text: title, standoff: 8 }, gridcolor: color("--line"), linecolor: color("--line"), zeroline: false, automargin: true, ...more,
  });
  const layout = (more) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: color("--text"), family: "system-ui, sans-serif", size: 13 },
    margin: { l: 58, r: 16, t: 10, b: 48 }, hoverlabel: { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--text") }, align: "left" },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--soft"), activecolor: color("--text") },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", ...more,  // a finger scrolls
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
    return [`<b>trial ${number}</b>: ${score(trials.score[row])}, ${seconds(trials.seconds[row])}, ${megabytes(trials.mb[row])}`, ...lines].join("<br>");
  }

  const column = (name, numbers) => numbers.map((number) => trials[name][rowOf.get(number)]);

  // ---------------------------------------------------------------- charts, by name

  const charts = {
    front() {
      const complete = trials.number.filter((number) => trials.state[rowOf.get(number)] === "COMPLETE" && !onFront.has(number));
      const sizes = column("mb", data.front);
      const narrow = window.innerWidth < 720;
      const traces = [
        { name: "other completed trials", x: column("seconds", complete), y: column("score", complete), customdata: complete, mode: "markers", type: "scatter", hovertext: complete.map((n) => `trial ${n}: ${score(trials.score[rowOf.get(n)])}`), hoverinfo: "text", marker: { color: color("--grey"), size: 6, opacity: 0.55 } },
        { name: "Pareto front", x: column("seconds", data.front), y: column("score", data.front), customdata: data.front, mode: "markers", type: "scatter", hovertext: data.front.map(about), hoverinfo: "text",
          marker: { size: 12, color: sizes.map(Math.log10), colorscale: "Viridis", line: { color: color("--soft"), width: 1 }, showscale: true, colorbar: { title: { text: "MB" }, thickness: narrow ? 8 : 14, outlinewidth: 0, ...ticks(sizes) } } },
        { name: "chosen", x: chosen === null ? [] : column("seconds", [chosen]), y: chosen === null ? [] : column("score", [chosen]), mode: "markers", type: "scatter", hoverinfo: "skip", showlegend: false, marker: { size: 20, color: "rgba(0,0,0,0)", line: { color: color("--orange"), width: 3 } } },
      ];
      const threshold = { type: "line", xref: "paper", x0: 0, x1: 1, y0: data.threshold, y1: data.threshold, line: { color: color("--orange"), width: 1, dash: "dot" } };
      return [traces, layout({ shapes: [threshold], xaxis: axis("training time (s)", { type: "log", nticks: narrow ? 4 : 10 }), yaxis: axis(narrow ? "" : `${data.objective} on validation`), hovermode: "closest" })];
    },
    states() {
      const colors = { COMPLETE: "--accent", PRUNED: "--grey", FAIL: "--orange" };
      const traces = Object.entries(data.states).map(([state, counts]) => ({ name: state, x: counts.map((_, i) => i + 1), y: counts, type: "scatter", mode: "lines", stackgroup: "all", line: { width: 0.5, color: color(colors[state]) } }));
      return [traces, layout({ xaxis: axis("trials that had ended"), yaxis: axis("trials"), hovermode: "x" })];
    },
    "volume-trials": () => volume(0, "finished trials"),
    "volume-seconds": () => volume(1, "seconds of training"),
    curves() {
      const { finalists, pruned } = data.curves;
      const grey = { name: "pruned", x: [], y: [], type: "scatter", mode: "lines+markers", marker: { size: 3, color: color("--grey") }, line: { color: color("--grey"), width: 1 }, opacity: 0.55, hoverinfo: "skip" };
      for (const curve of pruned) { grey.x.push(...curve.epoch, null); grey.y.push(...curve.score, null); }
      const lines = finalists.map((curve) => ({ name: `trial ${curve.number}`, x: curve.epoch, y: curve.score, type: "scatter", mode: "lines+markers", line: { width: 2.5 }, marker: { size: 4 } }));
      const last = Math.max(0, ...grey.x, ...lines.flatMap((line) => line.x));
      return [[grey, ...lines], layout({ xaxis: axis("epoch", last <= 12 ? { dtick: 1 } : {}), yaxis: axis(data.objective), hovermode: "closest" })];
    },
    parallel() { return parallel(byId("parallel-which").value); },
    efficiency() { return efficiency("seconds", "seconds an epoch"); },
    memory() { return efficiency("memory", "MB"); },
    size() {
      const done = trials.number.filter((number) => trials.state[rowOf.get(number)] === "COMPLETE");
      const sorted = [...done].sort((a, b) => trials.mb[rowOf.get(a)] - trials.mb[rowOf.get(b)]);
      const best = { name: "best up to this size", x: [], y: [], type: "scatter", mode: "lines", line: { shape: "hv", color: color("--accent"), width: 2 } };
      let most = -Infinity;
      for (const number of sorted) {
        most = Math.max(most, trials.score[rowOf.get(number)]);
        best.x.push(trials.mb[rowOf.get(number)]); best.y.push(most);
      }
      const points = { name: "completed trials", x: column("mb", done), y: column("score", done), text: done.map((n) => `trial ${n}`), type: "scatter", mode: "markers", marker: { color: color("--grey"), size: 6, opacity: 0.6 } };
      return [[points, best], layout({ xaxis: axis("size (MB)", { type: "log" }), yaxis: axis(data.objective), hovermode: "closest" })];
    },
    calibration() {
      const lines = data.calibration.filter((model) => model.rows.length).map((model) => ({ name: `model ${model.model}`, x: model.rows.map((row) => row[0]), y: model.rows.map((row) => row[1]), text: model.rows.map((row) => `${row[2]} windows`), type: "scatter", mode: "lines+markers" }));
      const ideal = { name: "as sure as right", x: [0, 1], y: [0, 1], type: "scatter", mode: "lines", line: { dash: "dot", color: color("--grey") }, hoverinfo: "skip" };
      const least = Math.min(0.32, ...lines.flatMap((line) => line.x)) - 0.02;
      return [[ideal, ...lines], layout({ xaxis: axis("mean confidence", { range: [least, 1.01] }), yaxis: axis("share right", { range: [0, 1.03] }) })];
    },
  };

  function ticks(sizes) {
    const [low, high] = [Math.min(...sizes), Math.max(...sizes)];
    const values = high > low ? [0, 1 / 3, 2 / 3, 1].map((part) => Math.log10(low) + part * (Math.log10(high) - Math.log10(low))) : [Math.log10(low)];
    return { tickvals: values, ticktext: values.map((value) => String(Number((10 ** value).toPrecision(2)))) };
  }

  function volume(place, title) {
    const end = place === 0 ? trials.state.filter((state) => state === "COMPLETE" || state === "PRUNED").length : data.seconds;
    const x = [0, ...data.hypervolume.map((step) => step[place])];
    const y = [0, ...data.hypervolume.map((step) => step[2])];
    if (end > x[x.length - 1]) { x.push(end); y.push(y[y.length - 1]); }
    return [[{ x, y, type: "scatter", mode: "lines", line: { shape: "hv", color: color("--accent"), width: 2.5 }, fill: "tozeroy", fillcolor: color("--accent-soft") }], layout({ xaxis: axis(title, { rangemode: "tozero" }), yaxis: axis("hypervolume", { rangemode: "tozero" }), showlegend: false })];
  }

  function efficiency(what, title) {
    const found = data.efficiency;
    const batches = [...new Set(found.batch)].sort((a, b) => a - b);
    const traces = batches.map((batch) => {
      const rows = found.batch.map((each, row) => [each, row]).filter(([each, row]) => each === batch && found[what][row] !== null).map(([, row]) => row);
      return { name: `batch ${batch}`, x: rows.map((row) => found.multiply_adds[row]), y: rows.map((row) => found[what][row]), text: rows.map((row) => `trial ${found.number[row]}`), type: "scatter", mode: "markers", marker: { size: 7, opacity: 0.75 } };
    });
    return [traces, layout({ xaxis: axis("multiply-adds of a window", { type: "log", nticks: 8 }), yaxis: axis(title, { type: "log", nticks: 8 }), hovermode: "closest" })];
  }

  function parallel(which) {
    let numbers = trials.number.filter((number) => trials.state[rowOf.get(number)] === "COMPLETE");
    if (which === "front") numbers = data.front;
    if (which === "best") numbers = [...numbers].sort((a, b) => trials.score[rowOf.get(b)] - trials.score[rowOf.get(a)]).slice(0, Math.max(1, Math.ceil(numbers.length / 10)));
    const every = trials.number.filter((number) => trials.state[rowOf.get(number)] === "COMPLETE");
    const axes = data.parallel.slice(0, window.innerWidth < 720 ? 4 : 8).map((name) => trials.params.find((param) => param.name === name)).filter(Boolean);
    const places = axes.map(({ values }) => placer(every.map((number) => values[rowOf.get(number)]).filter((value) => value !== null)));
    const scores = every.map((number) => trials.score[rowOf.get(number)]).sort((a, b) => a - b);
    const shades = [["--grey", 0.3], ["--grey", 0.45], ["--accent", 0.35], ["--accent", 0.6], ["--orange", 0.9]];
    const shadeOf = (value) => Math.min(shades.length - 1, Math.floor((scores.filter((each) => each < value).length / scores.length) * shades.length));
    const traces = shades.map(([shade, opacity], k) => ({ name: k === 0 ? "lowest fifth" : k === shades.length - 1 ? "highest fifth" : "", showlegend: k === 0 || k === shades.length - 1, x: [], y: [], type: "scatter", mode: "lines", line: { color: color(shade), width: which === "all" ? 1 : 2 }, opacity, hoverinfo: "skip" }));
    for (const number of numbers) {
      const trace = traces[shadeOf(trials.score[rowOf.get(number)])];
      axes.forEach(({ values }, k) => {
        const value = values[rowOf.get(number)];
        trace.x.push(value === null ? null : k); trace.y.push(value === null ? null : places[k].at(value));
      });
      trace.x.push(null); trace.y.push(null);
    }
    const labels = axes.flatMap((_, k) => places[k].ticks.map(([text, y]) => ({ x: k, y, text: plain(text), showarrow: false, xanchor: "left", xshift: 4, font: { size: 10.5, color: color("--text") }, bgcolor: color("--card"), opacity: 0.9 })));
    const lines = axes.map((_, k) => ({ type: "line", x0: k, x1: k, y0: 0, y1: 1, line: { color: color("--soft"), width: 1 } }));
    return [traces, layout({ annotations: labels, shapes: lines, xaxis: { tickvals: axes.map((_, k) => k), ticktext: axes.map(({ name }) => plain(name).replace(/[._]/g, "<br>")), range: [-0.1, axes.length - 0.55], showgrid: false, zeroline: false, fixedrange: true }, yaxis: { visible: false, range: [-0.04, 1.06], fixedrange: true }, margin: { l: 16, r: 16, t: 10, b: 90 } })];
  }

  function placer(values) {
    const distinct = [...new Set(values)];
    if (distinct.every((value) => typeof value === "number") && distinct.length > 6) {
      const [low, high] = [Math.min(...distinct), Math.max(...distinct)];
      const log = low > 0 && high / low > 50;
      const turn = log ? Math.log : (value) => value;
      const span = turn(high) - turn(low) || 1;
      return { at: (value) => (turn(value) - turn(low)) / span, ticks: [[figure(low), 0], [figure(high), 1]] };
    }
    const order = distinct.sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b))));
    const at = new Map(order.map((value, k) => [value, order.length > 1 ? k / (order.length - 1) : 0.5]));
    return { at: (value) => at.get(value), ticks: order.map((value) => [String(value), at.get(value)]) };
  }

  // ---------------------------------------------------------------- drawing, one chart a breath

  const drawn = new Set();
  const waiting = [];
  const breathe = window.requestIdleCallback || ((callback) => setTimeout(callback, 1));
  let busy = false;

  function draw(place) {
    const [traces, shape] = charts[place.dataset.chart]();
    Plotly.react(place, traces, shape, config);
    if (place.dataset.chart === "front" && !drawn.has(place)) place.on("plotly_click", (event) => choose(event.points[0].customdata, true));
    drawn.add(place);
  }

  function next() {
    const place = waiting.shift();
    if (!place) { busy = false; return; }
    try { draw(place); } finally { breathe(next); }
  }

  function ask(place) {
    waiting.push(place);
    if (!busy) { busy = true; breathe(next); }
  }

  if (!data.efficiency || !data.efficiency.memory.some((value) => value !== null)) byId("memory-figure").remove();
  if (!data.efficiency) for (const gone of [byId("efficiency"), document.querySelector('nav a[href="#efficiency"]')]) gone.remove();
  const places = [...document.querySelectorAll("[data-chart]")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); ask(entry.target); }
  }, { rootMargin: "300px" });
  const first = places.find((place) => place.dataset.chart === "front");
  if (first) draw(first);  // while the page loads: the first chart takes longest, for Plotly measures its letters
  places.filter((place) => place !== first).forEach((place) => seen.observe(place));
  const root = document.documentElement;
  let before;
  window.addEventListener("beforeprint", () => {  // on paper all is light and open
    before = root.dataset.theme;
    root.dataset.theme = "light";
    document.querySelectorAll("details").forEach((part) => { part.open = true; });
    places.forEach(draw);
  });
  window.addEventListener("afterprint", () => {
    if (before === undefined) delete root.dataset.theme;
    else root.dataset.theme = before;
    redraw();
  });
  const redraw = () => drawn.forEach(ask);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    redraw();
  });

  // ---------------------------------------------------------------- the front: choosing a trial, the best within limits

  function ring() {
    const place = document.querySelector('[data-chart="front"]');
    if (!place || !place.data || chosen === null) return;
    const row = rowOf.get(chosen);
    Plotly.restyle(place, { x: [[trials.seconds[row]]], y: [[trials.score[row]]] }, [2]);
  }

  function element(name, text) {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  }

  function choose(number, scroll) {
    chosen = number;
    const row = rowOf.get(number);
    const body = document.querySelector("#front-table tbody");
    for (const line of body.rows) line.classList.toggle("chosen", Number(line.dataset.trial) === number);
    const line = body.querySelector("tr.chosen");
    if (line && scroll) line.parentElement.closest(".scroll").scrollTop = line.offsetTop - 60;
    const list = document.createElement("dl");
    for (const { name, values } of trials.params) {
      if (values[row] === null) continue;
      list.append(element("dt", name), element("dd", values[row] === true ? "yes" : values[row] === false ? "no" : figure(values[row])));
    }
    byId("detail").replaceChildren(element("h3", `Trial ${number}: ${score(trials.score[row])}, ${seconds(trials.seconds[row])}, ${megabytes(trials.mb[row])}`), list);
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
      if (line) choose(Number(line.dataset.trial), false);
    });
    pick();
  }

  // ---------------------------------------------------------------- all trials, 25 a page

  const SIZE = 25;
  let page = 0;
  for (const state of new Set(trials.state)) byId("state").append(element("option", state));
  function table() {
    const [state, by] = [byId("state").value, byId("sort").value];
    const rows = trials.number.map((_, row) => row).filter((row) => !state || trials.state[row] === state);
    const falling = by === "score" ? -1 : 1;
    rows.sort((a, b) => (trials[by][a] === null) - (trials[by][b] === null) || falling * (trials[by][a] - trials[by][b]) || a - b);
    const pages = Math.max(1, Math.ceil(rows.length / SIZE));
    page = Math.min(page, pages - 1);
    byId("page").textContent = `${rows.length ? page * SIZE + 1 : 0}–${Math.min(rows.length, (page + 1) * SIZE)} of ${rows.length}`;
    byId("back").disabled = page === 0;
    byId("on").disabled = page === pages - 1;
    const known = (value) => (value === null ? "–" : figure(value));
    byId("all").tBodies[0].replaceChildren(...rows.slice(page * SIZE, (page + 1) * SIZE).map((row) => {
      const line = document.createElement("tr");
      [trials.number[row], trials.state[row], score(trials.score[row]), known(trials.seconds[row]), known(trials.mb[row]), known(trials.epochs[row]), trials.reason[row]].forEach((text, k) => {
        const cell = element("td", text);
        if (k !== 1 && k !== 6) cell.className = "num";
        line.append(cell);
      });
      return line;
    }));
  }
  for (const id of ["state", "sort"]) byId(id).addEventListener("change", () => { page = 0; table(); });
  byId("back").addEventListener("click", () => { page -= 1; table(); });
  byId("on").addEventListener("click", () => { page += 1; table(); });
  table();

  if (byId("parallel-which")) byId("parallel-which").addEventListener("change", () => ask(document.querySelector('[data-chart="parallel"]')));
  const shown = data.curves.pruned.length;
  byId("curves-lead").textContent = `Of ${data.curves.finalists.length} best trials during the search, and of ${shown === data.curves.of_pruned ? shown : `${shown} of ${data.curves.of_pruned}`} pruned ones in grey.`;
})();
