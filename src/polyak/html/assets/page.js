// Draws the charts described in the page's JSON, in the colours of the page, and again where those change.
"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const download = {
    name: "download", title: "Download as PNG", icon: Plotly.Icons.camera,
    click: (drawn) => Plotly.downloadImage(
      { data: drawn.data, layout: { ...drawn.layout, showlegend: true } },
      { format: "png", filename: drawn.id, width: drawn.clientWidth, height: drawn.clientHeight },
    ),
  };

  function layoutOf(chart) {
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = (own) => ({
      gridcolor: colour("--rule"), linecolor: colour("--rule"), zerolinecolor: colour("--rule"),
      spikecolor: colour("--faint"), spikethickness: -1, ...own,
      title: { standoff: 6, font: { size: 13, color: colour("--faint") }, ...own.title },
    });
    const layout = {
      font: { family: "system-ui, sans-serif", size: 13, color: colour("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 8, r: 14, t: 8, b: 46 }, hovermode: "x unified", hoverdistance: -1,
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--rule"), font: { color: colour("--ink") } },
      // The page has legends of its own, whose names may be long; this one is for a picture of the chart alone.
      showlegend: false, legend: { orientation: "h", yanchor: "bottom", y: 1.01, x: 0, traceorder: "normal" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--faint"), activecolor: colour("--accent") },
      dragmode: narrow.matches ? false : "zoom",
      ...chart.layout,
    };
    layout.xaxis = axis(layout.xaxis);
    // Only the left margin follows its labels: were all of them to, the margins of some charts would never settle.
    layout.yaxis = { showspikes: false, automargin: "left", ...axis(layout.yaxis) };
    return layout;
  }

  // The values that a logarithmic axis names within [low, high]: powers of ten, with 2 and 5 times them, or even steps.
  function namedValues(low, high) {
    const decades = Math.log10(high / low);
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    if (decades < 0.9) {
      const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
      return Array.from({ length: 9 }, (_, i) => (Math.ceil(low / step) + i) * step).filter((each) => each <= high);
    }
    const every = Math.max(1, Math.ceil(decades / 8)), digits = decades < 2.5 ? [1, 2, 5] : [1];
    const found = [];
    for (let power = first; power <= last; power += every) found.push(...digits.map((digit) => digit * 10 ** power));
    return found.filter((each) => each >= low * 0.999 && each <= high * 1.001);
  }

  function spelled(value) {
    const short = Number(value.toPrecision(3));
    if (short >= 1e6) return `${short / 1e6}M`;
    if (short >= 1e4) return `${short / 1e3}k`;
    return short < 1e-4 ? short.toExponential().replace("-", "\u2212") : String(short);
  }

  // Plotly's own names of a logarithmic axis say 5, 2, 10, 5, and nothing at all within less than a decade.
  function nameLogarithms(drawn) {
    const named = {};
    for (const name of ["xaxis", "yaxis"]) {
      const axis = drawn.layout[name];
      if (axis.type === "log" && axis.range) {
        const values = namedValues(10 ** axis.range[0], 10 ** axis.range[1]);
        const known = String(values) === String(axis.tickvals);
        Object.assign(named, known ? {} : { [`${name}.tickvals`]: values, [`${name}.ticktext`]: values.map(spelled) });
      }
    }
    if (Object.keys(named).length) Plotly.relayout(drawn, named);
  }

  // Names below the title, which break where a line is full; a click hides what a name stands for.
  function makeLegend(drawn) {
    const legend = document.createElement("div"), named = drawn.data.filter((trace) => trace.showlegend !== false);
    legend.className = "legend";
    for (const trace of named.length > 1 ? named : []) {
      const entry = document.createElement("button"), mark = document.createElement("i");
      const colour = trace.line?.color ?? trace.marker.color;
      mark.style.borderTop = trace.type === "bar" ? `.7em solid ${colour}`
        : `${trace.mode === "markers" ? ".4em dotted" : `.18em ${{ dash: "dashed", dot: "dotted" }[trace.line.dash] ?? "solid"}`} ${colour}`;
      const words = document.createElement("span");
      words.textContent = new DOMParser().parseFromString(trace.name, "text/html").body.textContent;
      entry.type = "button";
      entry.append(mark, words);
      entry.setAttribute("aria-pressed", "true");
      entry.addEventListener("click", () => {
        const shown = entry.getAttribute("aria-pressed") !== "true";
        const belongs = (each) => each === trace || (each.showlegend === false && each.legendgroup === trace.legendgroup);
        const which = drawn.data.flatMap((each, index) => (belongs(each) ? [index] : []));
        entry.setAttribute("aria-pressed", String(shown));
        Plotly.restyle(drawn, { visible: shown }, which);
      });
      legend.append(entry);
    }
    drawn.before(legend);
  }

  function draw(first) {
    for (const [name, chart] of Object.entries(charts)) {
      const drawn = document.getElementById(name);
      Plotly.react(drawn, chart.data, layoutOf(chart), {
        responsive: true, displaylogo: false, displayModeBar: narrow.matches ? false : "hover",
        modeBarButtons: [[download, "zoom2d", "pan2d", "resetScale2d"]],
      });
      if (first) {
        makeLegend(drawn);
        drawn.on("plotly_relayout", () => nameLogarithms(drawn));
      }
      nameLogarithms(drawn);
    }
  }

  draw(true);
  dark.addEventListener("change", () => draw(false));
  narrow.addEventListener("change", () => draw(false));
})();
