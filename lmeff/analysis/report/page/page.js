(async () => {
  "use strict";
  // As JSON or, of many runs, as compressed JSON, in which tables are columns.
  async function pageData() {
    const { type, textContent } = document.getElementById("page-data");
    if (type === "application/json") return JSON.parse(textContent);
    const bytes = Uint8Array.from(atob(textContent), (letter) => letter.charCodeAt(0));
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const data = JSON.parse(await new Response(unpacked).text());
    for (const { datasets } of Object.values(data.figures)) {
      for (const [name, table] of Object.entries(datasets)) if (!Array.isArray(table)) datasets[name] = asRows(table);
    }
    return data;
  }
  function asRows({ names, columns }) {
    return columns[0].map((_, i) => Object.fromEntries(names.map((name, j) => [name, columns[j][i]])));
  }
  const { figures, themes, filters: facts } = await pageData();
  const filters = makeFilters(facts, figures);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const views = {};
  const MAX_PICKED = 12;
  let log = figures.main ? figures.main.usermeta.token_axis.log : false;
  let picked = figures.paradigms ? figures.paradigms.params.find((each) => each.name === "picked").value : [];

  // The same walk as in token_axis.py.
  function setTokenAxes(node, axis, width) {
    if (Array.isArray(node)) {
      node.forEach((each) => setTokenAxes(each, axis, width));
    } else if (node && typeof node === "object") {
      if (node.field === "tokens" && node.axis) {
        const { values, tickCount, ...rest } = node.axis;
        node.scale = log
          ? { type: "symlog", constant: axis.constant, nice: false }
          : { type: "linear", nice: false };
        const numTicks = Math.max(2, Math.min(5, Math.floor(width / 70)));
        node.axis = log ? { ...rest, values: thinned(axis, width) } : { ...rest, tickCount: numTicks };
      }
      for (const [key, each] of Object.entries(node)) {
        if (key !== "datasets") setTokenAxes(each, axis, width);
      }
    }
  }

  // Lines of at most so many pixels, in the type of the charts: a longer one would be cut at the edge.
  const pen = document.createElement("canvas").getContext("2d");
  function brokenLines(text, font, width) {
    pen.font = `${font} ${themes.light.font}`;
    const lines = [];
    for (const word of text.split(" ")) {
      const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
      if (lines.length && pen.measureText(longer).width <= width) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    return lines;
  }

  // As in token_axis.py, but for panels of this width: where labels do not fit, the last one stays.
  const LABEL_DISTANCE = 14;
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
  function thinned({ ticks, constant }, width) {
    pen.font = `${themes.light.axis.labelFontSize}px ${themes.light.font}`;
    const last = ticks[ticks.length - 1];
    const place = (tokens) => (width * Math.log1p(tokens / constant)) / Math.log1p(last / constant);
    const half = (tokens) => pen.measureText(short.format(tokens)).width / 2;
    const kept = [last];
    for (const tick of ticks.slice(0, -1).reverse()) {
      const room = half(kept[0]) * (kept[0] === last ? 2 : 1) + half(tick) + LABEL_DISTANCE;
      if (place(kept[0]) - place(tick) >= room) kept.unshift(tick);
    }
    return kept;
  }

  // On a phone names in a legend stand below each other.
  function setLegendColumns(node) {
    if (Array.isArray(node)) {
      node.forEach(setLegendColumns);
    } else if (node && typeof node === "object") {
      if (node.legend) node.legend.columns = 1;
      for (const [key, each] of Object.entries(node)) {
        if (key !== "datasets" && key !== "data") setLegendColumns(each);
      }
    }
  }

  // Breaks the title of a panel and what stands below it; returns how many lines there are. `whole` is all below it in one line.
  function breakTitle(panel, width, whole) {
    if (!panel.title) return 0;
    const { text, subtitle, ...rest } = typeof panel.title === "string" ? { text: panel.title } : panel.title;
    const broken = (lines, font) => [].concat(lines || []).flatMap((line) => brokenLines(line, font, width));
    const [head, below] = [broken(text, "600 14px"), broken(whole || subtitle, "12px")];
    panel.title = { ...rest, text: head, ...(below.length ? { subtitle: below } : {}) };
    return head.length + below.length;
  }

  const SUBTITLE_LINE_HEIGHT = 15;
  function fitted(figure, width) {
    const spec = structuredClone(figure);
    if (width < 680) setLegendColumns(spec);
    if (spec.concat) {
      spec.columns = width >= 680 ? Math.min(2, spec.concat.length) : 1;
      const share = (width - 84 - spec.spacing * (spec.columns - 1)) / spec.columns;
      for (const each of spec.concat) each.width = Math.max(180, Math.floor(Math.min(share, 640)));
      // Legends of panels stand over them.
      const legends = spec.resolve ? width < 680 ? 90 : 24 : 0;
      spec.spacing = (spec.columns === 1 ? 110 : 100) + legends;
      const { subtitles = [] } = spec.usermeta;
      const lines = spec.concat.map((each, i) => breakTitle(each, each.width, subtitles[i]));
      spec.spacing += SUBTITLE_LINE_HEIGHT * Math.max(0, Math.max(...lines) - 2);
    } else if (spec.facet) {
      spec.columns = width >= 720 ? 3 : width >= 460 ? 2 : 1;
      spec.spec.width = Math.max(140, Math.floor(width / spec.columns) - 66);
      const characters = Math.max(12, Math.floor(spec.spec.width / 6.8));
      breakTitle(spec, width - 24);
      spec.facet.header.labelExpr = spec.facet.header.labelExpr.replace(/\{1,\d+\}/, `{1,${characters}}`);
    }
    // Names of rows stand beside a figure of one panel.
    if (spec.usermeta.label_pixels) {
      spec.width = Math.max(160, Math.min(spec.width, width - spec.usermeta.label_pixels));
      const words = [].concat(spec.title.subtitle).join(" ");
      spec.title.subtitle = brokenLines(words, "12px", Math.min(width, spec.width + spec.usermeta.label_pixels) - 24);
    }
    if (spec.usermeta.token_axis) {
      setTokenAxes(spec, spec.usermeta.token_axis, spec.concat ? spec.concat[0].width : spec.spec.width);
    }
    return spec;
  }

  function configOf(theme, width) {
    return { ...theme, legend: { ...theme.legend, columns: width >= 680 ? 4 : 1 } };
  }

  async function draw(name) {
    const figure = document.querySelector(`figure[data-figure="${name}"]`);
    // vega-embed shrinks the element it draws into; the figure keeps the width of the page.
    const place = figure.firstElementChild || figure.appendChild(document.createElement("div"));
    const spec = filters.filtered(name, picked);
    if (typeof spec === "string") {
      if (views[name]) views[name].finalize();
      delete views[name];
      place.replaceChildren(Object.assign(document.createElement("p"), { className: "note", textContent: spec }));
      return;
    }
    const width = figure.clientWidth;
    const config = configOf(themes[dark.matches ? "dark" : "light"], width);
    const result = await window.vegaEmbed(place, fitted(spec, width), {
      config,
      renderer: "svg",
      actions: false,
      tooltip: { theme: dark.matches ? "dark" : "light" },
    });
    if (views[name]) views[name].finalize();
    views[name] = result;
    if (name === "paradigms") result.view.signal("picked", picked).resize().runAsync();
  }

  // One drawing after the other: a second click may come before the first has been drawn. A figure that fails leaves the others.
  let drawn = Promise.resolve();
  function drawAll(names = Object.keys(figures)) {
    drawn = drawn.then(async () => {
      for (const { reason } of await Promise.allSettled(names.map(draw))) if (reason) console.error(reason);
    });
  }

  // Drawn anew, since a figure that is saved looks the same from every page: light, on white, and as wide as on a large screen.
  const SAVED_WIDTH = 1040;
  async function save(name, type) {
    const spec = filters.filtered(name, picked);
    if (!views[name] || typeof spec === "string") return;
    const config = { ...configOf(themes.light, SAVED_WIDTH), padding: 16 };
    const place = document.createElement("div");
    const options = { config, renderer: "svg", actions: false };
    const { view, finalize } = await window.vegaEmbed(place, fitted(spec, SAVED_WIDTH), options);
    const chosen = (key) => key.startsWith("chosen") || key === "picked";
    view.setState(views[name].view.getState({ signals: chosen, data: chosen }));
    await view.runAsync();
    const link = document.createElement("a");
    link.download = `${name}.${type}`;
    link.href = await view.toImageURL(type, 2);
    link.click();
    finalize();
  }

  // The cells of a table as text, in a form that a paper or a spreadsheet takes.
  const written = {
    csv: (rows) => rows.map((row) => row.map((cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",")).join("\n"),
    markdown: ([head, ...rows]) =>
      [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`).join("\n"),
    latex: ([head, ...rows]) => {
      const named = { "\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater", "|": "bar", '"': "quotedbl" };
      const escaped = (char) => (named[char] ? `\\text${named[char]}{}` : `\\${char}`);
      const line = (row) => `${row.map((cell) => cell.replace(/[\\~^<>|"&%$#_{}]/g, escaped)).join(" & ")} \\\\`;
      const columns = head.map((_, i) => (i ? "r" : "l")).join("");
      return ["\\begin{tabular}{" + columns + "}", "\\toprule", line(head), "\\midrule", ...rows.map(line), "\\bottomrule", "\\end{tabular}"].join("\n");
    },
  };
  function addCopies() {
    for (const table of document.querySelectorAll("main table")) {
      const line = document.createElement("p");
      line.className = "caption copies";
      line.append("Copy as ");
      for (const [form, name] of [["csv", "CSV"], ["markdown", "Markdown"], ["latex", "LaTeX"]]) {
        const button = document.createElement("button");
        Object.assign(button, { type: "button", className: "link", textContent: name });
        button.dataset.copy = form;
        line.append(button, " ");
      }
      table.parentElement.after(line);
    }
  }
  async function copy(button) {
    const table = button.parentElement.previousElementSibling.querySelector("table");
    const isShown = (node) => !node.classList.contains("filtered-out");
    const cells = (row) => [...row.cells].filter(isShown).map((cell) => cell.textContent.trim().replace(/\s+/g, " "));
    const text = written[button.dataset.copy]([...table.rows].filter(isShown).map(cells));
    const name = button.textContent;
    button.dataset.copied = text;
    button.textContent = "copied";
    setTimeout(() => (button.textContent = name), 1200);
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page from disk may not use the clipboard in every browser.
      const area = document.body.appendChild(document.createElement("textarea"));
      area.value = text;
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  function showChoices() {
    for (const button of document.querySelectorAll("[data-axis]")) {
      button.setAttribute("aria-pressed", String((button.dataset.axis === "log") === log));
    }
    for (const button of document.querySelectorAll("[data-task]")) {
      button.setAttribute("aria-pressed", String(picked.includes(button.dataset.task)));
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && filters.clicked(button)) {
      drawAll();
    } else if (button && button.dataset.axis) {
      log = button.dataset.axis === "log";
      drawAll();
    } else if (button && button.dataset.task) {
      const task = button.dataset.task;
      // Beyond a dozen panels the one chosen first gives way.
      picked = picked.includes(task) ? picked.filter((each) => each !== task) : [...picked, task].slice(-MAX_PICKED);
      if (views.paradigms && typeof filters.filtered("paradigms", picked) !== "string") {
        views.paradigms.view.signal("picked", picked).resize().runAsync();
      } else {
        drawAll(["paradigms"]);
      }
    }
    if (button && button.dataset.copy) copy(button);
    if (button && button.dataset.save) save(button.dataset.save, button.dataset.type);
    showChoices();
  });
  dark.addEventListener("change", () => drawAll());
  let width = document.body.clientWidth;
  let waiting;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (document.body.clientWidth !== width) {
        width = document.body.clientWidth;
        drawAll();
      }
    }, 150);
  });

  document.documentElement.classList.add("scripts");
  for (const each of document.querySelectorAll(".switch, .scripted")) each.hidden = false;
  addCopies();
  showChoices();
  drawAll();
})();
