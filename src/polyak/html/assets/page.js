// Draws the charts described in the page's JSON, in the colours of the page, and again where those change.
"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");

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
      legend: { orientation: "h", yanchor: "bottom", y: 1.01, x: 0, font: { size: narrow.matches ? 11 : 13 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--faint"), activecolor: colour("--accent") },
      dragmode: narrow.matches ? false : "zoom",
      ...chart.layout,
    };
    layout.xaxis = axis(layout.xaxis);
    // Only the left margin follows its labels: were all of them to, the margins of some charts would never settle.
    layout.yaxis = { showspikes: false, automargin: "left", ...axis(layout.yaxis) };
    return layout;
  }

  function draw() {
    for (const [name, chart] of Object.entries(charts)) {
      Plotly.react(name, chart.data, layoutOf(chart), {
        responsive: true, displaylogo: false, displayModeBar: narrow.matches ? false : "hover",
        modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
      });
    }
  }

  draw();
  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
})();
