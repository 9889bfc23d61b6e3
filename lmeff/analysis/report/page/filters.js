// What the reader has chosen to see, and figures and tables of no more than that. Nothing is computed anew but the front of what
// nothing cheaper beats; what was computed over runs of which some are hidden is not shown.
function makeFilters(facts, figures) {
  "use strict";
  const { runs, tasks, over_all_runs: overAllRuns, over_all_tasks: overAllTasks, of_task: ofTask } = facts;
  const OF_RUNS = ["corpus", "size", "vocabulary", "seed"];
  const OF_ALL_TASKS = "Of all tasks, so it is not drawn while tasks are filtered.";
  const chosen = new Map(); // by facet a Set of values
  const buttons = [...document.querySelectorAll("[data-facet]")];
  const passes = (facet, value) => !chosen.has(facet) || chosen.get(facet).has(value);

  const isRunShown = (run) => OF_RUNS.every((facet) => passes(facet, run[facet]));
  let shownRuns, bySeries; // of each run whether it is shown, and of each series its runs
  function look() {
    shownRuns = runs.map(isRunShown);
    bySeries = new Map();
    runs.forEach((run, i) => bySeries.set(run.series, [...(bySeries.get(run.series) || []), { seed: run.seed, shown: shownRuns[i] }]));
  }
  const areRunsFiltered = () => shownRuns.includes(false);
  const areTasksFiltered = () => chosen.has("task") || chosen.has("phenomenon");
  const isTaskShown = (name) => {
    const task = tasks[name];
    return !task || (passes("task", task.suite) && (!task.phenomenon || passes("phenomenon", task.phenomenon)));
  };

  // A row with a seed is of one run; one without is of all runs of its series. What else lines are called by, such as the parts
  // of a model, is of all runs; and where `readBy` names the series that read each text, rows are of any run of these.
  function isRowShown(row, readBy) {
    if (row.task !== undefined && !isTaskShown(row.task)) return false;
    if (row.over_all_tasks && areTasksFiltered()) return false;
    if (readBy && readBy[row.series]) return readBy[row.series].some((label) => bySeries.get(label).some((run) => run.shown));
    const members = bySeries.get(row.series) || runs.map(({ seed }, i) => ({ seed, shown: shownRuns[i] }));
    const hasSeed = row.seed !== undefined && row.seed !== null;
    return hasSeed ? members.some((run) => run.seed === String(row.seed) && run.shown) : members.every((run) => run.shown);
  }

  function everyNode(node, visit) {
    if (Array.isArray(node)) {
      node.forEach((each) => everyNode(each, visit));
    } else if (node && typeof node === "object") {
      visit(node);
      for (const [key, each] of Object.entries(node)) {
        if (key !== "datasets" && key !== "values") everyNode(each, visit);
      }
    }
  }
  function dataNames(node) {
    const names = new Set();
    everyNode(node, (each) => each.data && each.data.name && names.add(each.data.name));
    return [...names];
  }

  // What lines such as that of chance are drawn from, which are of no run.
  function referenceData(spec) {
    const names = [];
    everyNode(spec, ({ mark, data }) => mark && String(mark.style).startsWith("reference") && data && data.name && names.push(data.name));
    return names;
  }

  // As in trade_offs.py: the points that nothing cheaper was measured to be better than.
  function drawFrontAnew(panel, datasets) {
    const [line, bars, points] = panel.layer.map((each) => each.data.name);
    let best = -Infinity;
    const sorted = [...datasets[points]].sort((one, other) => one.cost - other.cost || other.value - one.value);
    const front = sorted.filter(({ value }) => value > best && ((best = value), true));
    datasets[bars] = front;
    datasets[line] = front.map(({ cost, value }) => ({ cost, value }));
    if (front.length) datasets[line].push({ cost: sorted[sorted.length - 1].cost, value: best });
  }

  // Panels without a row left go, and a selection that the legend makes moves to a panel that stays.
  function withoutEmptyPanels(spec, lines) {
    const isKept = spec.concat.map((panel) => {
      const names = dataNames(panel).filter((name) => !lines.includes(name)); // none where the data stand at the top, for all panels
      return !names.length || names.some((name) => spec.datasets[name].length);
    });
    spec.concat = spec.concat.filter((_, i) => isKept[i]);
    if (spec.usermeta.subtitles) spec.usermeta.subtitles = spec.usermeta.subtitles.filter((_, i) => isKept[i]);
    const names = new Set();
    everyNode(spec.concat, (each) => typeof each.name === "string" && each.mark && names.add(each.name));
    for (const param of spec.params || []) {
      if (!param.views || param.views.some((name) => names.has(name))) continue;
      const layers = spec.concat.length ? spec.concat[0].layer : [];
      if (layers.length) layers[layers.length - 1].name = param.views[0];
    }
  }

  // A legend names what is drawn; scales keep all, so that a run has one color whatever is filtered.
  function shortenLegends(spec) {
    const rows = Object.values(spec.datasets).flat();
    const there = new Map();
    everyNode(spec, (node) => {
      if (!node.field || !node.legend || !node.scale || !Array.isArray(node.scale.domain)) return;
      if (!there.has(node.field)) there.set(node.field, new Set(rows.map((row) => row[node.field])));
      node.legend.values = node.scale.domain.filter((value) => there.get(node.field).has(value));
    });
  }

  // The specification of a figure with no more than what is chosen; or a sentence that says why there is none. `picked` are the
  // paradigms that are drawn of all.
  function filtered(name, picked) {
    if (!chosen.size) return figures[name];
    if (areRunsFiltered() && overAllRuns.includes(name)) return "Computed over all runs, so it is not drawn while runs are filtered.";
    if (areTasksFiltered() && overAllTasks.includes(name)) return OF_ALL_TASKS;
    if (ofTask[name] && !isTaskShown(ofTask[name])) return `Of ${ofTask[name]} alone, which is filtered out.`;
    if (name === "paradigms" && !picked.some(isTaskShown)) return "None of the paradigms picked is of what is chosen.";
    const { datasets = {}, ...rest } = figures[name];
    const spec = structuredClone(rest);
    const lines = name === "trade_offs" ? [] : referenceData(spec);
    const readBy = spec.usermeta && spec.usermeta.read_by;
    const kept = ([key, rows]) => [key, lines.includes(key) ? rows : rows.filter((row) => isRowShown(row, readBy))];
    spec.datasets = Object.fromEntries(Object.entries(datasets).map(kept));
    if (name === "trade_offs" && areRunsFiltered()) spec.concat.forEach((panel) => drawFrontAnew(panel, spec.datasets));
    if (!Object.entries(spec.datasets).some(([key, rows]) => rows.length && !lines.includes(key))) {
      const isOverTasks = Object.values(datasets).some((rows) => rows.some((row) => row.over_all_tasks));
      if (isOverTasks && areTasksFiltered()) return OF_ALL_TASKS;
      return "Nothing here is of what is chosen, or it is a mean over seeds of which some are filtered out.";
    }
    if (spec.concat) withoutEmptyPanels(spec, lines);
    shortenLegends(spec);
    return spec;
  }

  function hide(selector, isShown) {
    for (const each of document.querySelectorAll(selector)) each.classList.toggle("filtered-out", !isShown(each.dataset));
  }
  function words() {
    const parts = [...chosen].map(([facet, values]) => `${facet} ${[...values].join(", ")}`);
    const number = shownRuns.filter(Boolean).length;
    return chosen.size ? `${parts.join("; ")} (${number} of ${runs.length} runs)` : "all is shown";
  }
  function showState() {
    look();
    for (const button of buttons) {
      const { facet, value } = button.dataset;
      button.setAttribute("aria-pressed", String(chosen.has(facet) && chosen.get(facet).has(value)));
    }
    hide("[data-run]", ({ run }) => shownRuns[run]);
    hide("[data-runs]", ({ runs: members }) => members.split(" ").every((run) => shownRuns[run]));
    for (const cell of document.querySelectorAll("[data-row-of]")) {
      cell.parentElement.classList.toggle("filtered-out", !isTaskShown(cell.dataset.rowOf));
    }
    for (const head of document.querySelectorAll("th[data-of-task]")) {
      for (const row of head.closest("table").rows) {
        row.cells[head.cellIndex].classList.toggle("filtered-out", !isTaskShown(head.dataset.ofTask));
      }
    }
    hide("[data-over-all]", () => !areRunsFiltered());
    hide("[data-about-task]", ({ aboutTask }) => isTaskShown(aboutTask));
    document.documentElement.classList.toggle("is-filtered", chosen.size > 0);
    for (const each of document.querySelectorAll("[data-filter-state]")) each.textContent = words();
    for (const each of document.querySelectorAll("[data-show-all]")) each.hidden = !chosen.size;
    try {
      // A page that is written anew and loaded again shows what it showed.
      const kept = new URLSearchParams([...chosen].flatMap(([facet, values]) => [...values].map((value) => [facet, value])));
      history.replaceState(null, "", chosen.size || location.hash ? `#${kept}` : location.href);
    } catch {
      // Some browsers keep no addresses of pages from disk.
    }
  }

  // Whether a click was for the filters, and what is shown has changed.
  function clicked(button) {
    const { facet, value, showAll } = button.dataset;
    if (showAll !== undefined) {
      chosen.clear();
      const summary = button.parentElement.querySelector("summary");
      if (summary) summary.focus();
    } else if (facet) {
      const values = chosen.get(facet) || new Set();
      if (!values.delete(value)) values.add(value);
      if (values.size) chosen.set(facet, values);
      else chosen.delete(facet);
    } else {
      return false;
    }
    showState();
    return true;
  }

  for (const [facet, value] of new URLSearchParams(location.hash.slice(1))) {
    if (!buttons.some((button) => button.dataset.facet === facet && button.dataset.value === value)) continue;
    chosen.set(facet, (chosen.get(facet) || new Set()).add(value));
  }
  showState();
  return { filtered, clicked };
}
