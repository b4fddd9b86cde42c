// Charts of what came out: front, states, growth, curves, cost, calibration. Each returns traces and a layout.

let chosen = data.front.length ? data.front[0] : null;

const charts = {
  front() {
    const others = complete.filter((number) => !onFront.has(number));
    const drawn = spread(others);
    const sizes = column("mb", data.front);
    const traces = [
      points(`other completed trials${countNote(drawn, others)}`, drawn, column("seconds", drawn), column("score", drawn), { color: color("--grey"), size: 6, opacity: 0.55 }),
      points("Pareto front", data.front, column("seconds", data.front), column("score", data.front), {
        size: 12, color: sizes.map(Math.log10), colorscale: "Viridis", line: { color: color("--soft"), width: 1 }, showscale: true,
        colorbar: { title: { text: "MB" }, thickness: narrow() ? 8 : 14, outlinewidth: 0, ...sizeTicks(sizes) },
      }, { hovertext: data.front.map(about) }),
      { name: "chosen", x: chosen === null ? [] : column("seconds", [chosen]), y: chosen === null ? [] : column("score", [chosen]), mode: "markers", type: "scatter", hoverinfo: "skip", showlegend: false, marker: { size: 20, color: "rgba(0,0,0,0)", line: { color: color("--orange"), width: 3 } } },
    ];
    const threshold = { type: "line", xref: "paper", x0: 0, x1: 1, y0: data.threshold, y1: data.threshold, line: { color: color("--orange"), width: 1, dash: "dot" } };
    const label = { xref: "paper", x: 1, xanchor: "right", y: data.threshold, yanchor: "bottom", showarrow: false, text: "above it: better than chance", font: { size: 11, color: color("--soft") } };
    return [traces, layout({ shapes: [threshold], annotations: [label], xaxis: logAxis("training time (s)", column("seconds", [...others, ...data.front])), yaxis: axis(narrow() ? "" : `${data.objective} on validation`) })];
  },
  states() {
    const traces = Object.entries(data.states).map(([state, counts]) => ({ name: state, x: counts.map((_, i) => i + 1), y: counts, type: "scatter", mode: "lines", stackgroup: "all", line: { width: 0.5, color: color(STATE_COLORS[state]) } }));
    return [traces, layout({ xaxis: axis("trials that had ended"), yaxis: axis("trials"), hovermode: "x" })];
  },
  "volume-trials": () => volume(0, "finished trials"),
  "volume-seconds": () => volume(1, "seconds of training"),
  curves() {
    const { finalists, pruned } = data.curves;
    const grey = { name: "pruned", x: [], y: [], customdata: [], hovertext: [], hoverinfo: "text", type: "scatter", mode: "lines+markers", marker: { size: 3, color: color("--grey") }, line: { color: color("--grey"), width: 1 }, opacity: 0.55 };
    for (const number of pruned) {
      const curve = curveOf(number);
      grey.x.push(...curve.epoch, null); grey.y.push(...curve.score, null);
      grey.customdata.push(...curve.epoch.map(() => number), null); grey.hovertext.push(...curve.epoch.map(() => oneLine(number)), "");
    }
    const lines = finalists.map((number) => [number, curveOf(number)]).filter(([, curve]) => curve).map(([number, curve]) => ({
      name: `trial ${number}`, x: curve.epoch, y: curve.score, customdata: curve.epoch.map(() => number), hovertext: curve.score.map((value, k) => `trial ${number}, epoch ${figure(curve.epoch[k])}: ${score(value)}`), hoverinfo: "text", type: "scatter", mode: "lines+markers", line: { width: 2.5 }, marker: { size: 4 },
    }));
    const last = Math.max(greatest(grey.x.filter((each) => each !== null)), ...lines.map((line) => greatest(line.x)), 0);
    return [[grey, ...lines], layout({ xaxis: axis("epoch", last <= 12 ? { dtick: 1 } : {}), yaxis: axis(data.objective) })];
  },
  efficiency: () => efficiency("seconds", "seconds an epoch"),
  memory: () => efficiency("memory", "MB"),
  size() {
    const sorted = [...complete].sort((a, b) => trials.mb[rowOf.get(a)] - trials.mb[rowOf.get(b)]);
    const best = { name: "best up to this size", x: [], y: [], type: "scatter", mode: "lines", line: { shape: "hv", color: color("--accent"), width: 2 }, hoverinfo: "skip" };
    let most = -Infinity;
    for (const number of sorted) {
      most = Math.max(most, trials.score[rowOf.get(number)]);
      best.x.push(trials.mb[rowOf.get(number)]); best.y.push(most);
    }
    const drawn = spread(complete);
    const dots = points(`completed trials${countNote(drawn, complete)}`, drawn, column("mb", drawn), column("score", drawn), { color: color("--grey"), size: 6, opacity: 0.6 });
    return [[dots, best], layout({ xaxis: logAxis("size (MB)", column("mb", complete)), yaxis: axis(data.objective) })];
  },
  calibration() {
    const ideal = { name: "as sure as right", x: [0, 1], y: [0, 1], type: "scatter", mode: "lines", line: { dash: "dot", color: color("--grey") }, hoverinfo: "skip" };
    const known = data.calibration.filter((model) => model.rows.length);
    const shades = [color("--accent"), color("--orange"), color("--good"), color("--open"), color("--soft")];
    const traces = known.flatMap((model, k) => ["enough", "few"].map((kind) => {
      const rows = model.rows.filter((row) => row.enough === (kind === "enough"));
      const shade = kind === "enough" ? shades[k % shades.length] : color("--grey");
      return {
        name: kind === "enough" ? `model ${model.model}` : `fewer than ${data.enough_windows} windows`, showlegend: rows.length > 0 && (kind === "enough" || known.findIndex((each) => each.rows.some((row) => !row.enough)) === k),
        x: rows.map((row) => row.confidence), y: rows.map((row) => row.right), type: "scatter", mode: kind === "enough" ? "lines+markers" : "markers", line: { color: shade, width: 1.5 }, opacity: kind === "enough" ? 1 : 0.8,
        marker: { color: shade, size: rows.map((row) => Math.min(16, 4 + 1.3 * Math.log2(row.n))), symbol: kind === "enough" ? "circle" : "circle-open" },
        error_y: { type: "data", symmetric: false, array: rows.map((row) => row.high - row.right), arrayminus: rows.map((row) => row.right - row.low), color: shade, thickness: 1, width: 3 },
        hovertext: rows.map((row) => `model ${model.model}: right in ${(100 * row.right).toFixed(1)} % of ${row.n} windows (${(100 * row.low).toFixed(1)} to ${(100 * row.high).toFixed(1)} %)`), hoverinfo: "text",
      };
    }));
    const low = Math.min(1, ...known.flatMap((model) => model.rows.map((row) => row.confidence))) - 0.03;
    return [[ideal, ...traces], layout({ xaxis: axis("mean confidence", { range: [Math.max(0, low), 1.02] }), yaxis: axis("share right", { range: [-0.02, 1.03] }) })];
  },
  trial() { return curveOfTrial(openNumber); },
};

function sizeTicks(sizes) {
  const [low, high] = [Math.log10(least(sizes)), Math.log10(greatest(sizes))];
  if (!(high > low)) return { tickvals: [low], ticktext: [tickText(10 ** low)] };
  const { tickvals, ticktext } = ticksOf([low, high]);
  return { tickvals: tickvals.map(Math.log10), ticktext };
}

function volume(place, title) {
  const end = place === 0 ? inState("COMPLETE", "PRUNED").length : data.seconds;
  const x = [0, ...data.hypervolume.map((step) => step[place])];
  const y = [0, ...data.hypervolume.map((step) => step[2])];
  if (end > x[x.length - 1]) { x.push(end); y.push(y[y.length - 1]); }
  return [data.hypervolume.length ? [{ x, y, type: "scatter", mode: "lines", line: { shape: "hv", color: color("--accent"), width: 2.5 }, fill: "tozeroy", fillcolor: color("--accent-soft") }] : [], layout({ xaxis: axis(title, { rangemode: "tozero" }), yaxis: axis("hypervolume", { rangemode: "tozero" }), showlegend: false, hovermode: "x" })];
}

function efficiency(what, title) {
  const found = data.efficiency;
  const rows = found.number.map((_, row) => row).filter((row) => found[what][row] !== null);
  const drawn = spread(rows);
  const batches = [...new Set(drawn.map((row) => found.batch[row]))].sort((a, b) => a - b);
  const traces = batches.map((batch) => {
    const own = drawn.filter((row) => found.batch[row] === batch);
    return points(`batch ${batch}`, own.map((row) => found.number[row]), own.map((row) => found.multiply_adds[row]), own.map((row) => found[what][row]), { size: 7, opacity: 0.75 });
  });
  return [traces, layout({ xaxis: logAxis("multiply-adds of a window", rows.map((row) => found.multiply_adds[row])), yaxis: logAxis(title, rows.map((row) => found[what][row])) })];
}

function curveOfTrial(number) {
  const curve = curveOf(number) || { epoch: [], score: [] };
  const line = { x: curve.epoch, y: curve.score, type: "scatter", mode: "lines+markers", line: { color: color("--accent"), width: 2 }, marker: { size: 5 } };
  return [[line], layout({ xaxis: axis("epoch", curve.epoch.length <= 12 ? { dtick: 1 } : {}), yaxis: axis(data.objective), showlegend: false, margin: { l: 52, r: 8, t: 8, b: 40 } })];
}
