// K over steps: one thin line per walker, the leading one in the accent colour, hiscores as numbered marks.

import { byId, cssColor, el, fixed, plural } from "./dom.js";
import { listTraces } from "./api.js";

const EMPTY = () => ({ step: [], k: [], t_l: [], best_k: [], num_particles: [] });

export class Traces {
  constructor(onHiscore) {
    this.plot = byId("k-plot");
    this.chips = byId("walker-chips");
    this.onHiscore = onHiscore;
    this.kind = "k";
    this.reset(null);
    for (const input of document.querySelectorAll("#walk-kind input"))
      input.addEventListener("change", () => { this.kind = input.value; this.draw(); });
  }

  reset(campaignId) {
    this.campaignId = campaignId;
    this.cursor = 0;
    this.stride = 0;
    this.walkers = new Map();
    this.marked = null;
    this.hiscores = [];
    this.busy = false;
    this.again = false;
  }

  // Fetches what is new; calls during a fetch are folded into one more fetch after it.
  async update() {
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    const id = this.campaignId;
    try {
      let answer;
      do {
        this.again = false;
        answer = await listTraces(id, this.cursor, this.stride);
        if (id !== this.campaignId) return;
        this.take(answer);
        this.draw();
      } while (!answer.is_complete || this.again);
    } finally {
      if (id === this.campaignId) this.busy = false;
    }
  }

  take(answer) {
    if (answer.is_full) this.walkers = new Map();
    this.cursor = answer.cursor;
    this.stride = answer.stride;
    this.isComplete = answer.is_complete;
    for (const part of answer.walkers) {
      const trace = this.walkers.get(part.walker_number) ?? EMPTY();
      // the newest point of the last answer is there only until a regular one follows
      if (trace.step.length > 1 && trace.step.at(-1) - trace.step.at(-2) < answer.stride)
        for (const name of Object.keys(trace)) trace[name].pop();
      const last = trace.step.at(-1) ?? -1;
      part.step.forEach((step, i) => {
        if (step > last) for (const name of Object.keys(trace)) trace[name].push(part[name][i]);
      });
      this.walkers.set(part.walker_number, trace);
    }
  }

  setHiscores(hiscores) {
    this.hiscores = hiscores;
    this.draw();
  }

  leader() {
    let best = null;
    for (const [number, trace] of this.walkers) {
      const k = trace.best_k.at(-1);
      if (k !== null && k !== undefined && (best === null || k > best.k)) best = { number, k };
    }
    return best?.number ?? null;
  }

  draw() {
    if (!globalThis.Plotly || this.campaignId === null || !this.plot.clientWidth) return;
    const shown = this.marked ?? this.leader();
    const ordered = [...this.walkers].sort(([a], [b]) => (a === shown) - (b === shown) || a - b);
    this.drawChips(shown); // first, as they share the height with the plot
    const data = ordered.map(([number, trace]) => this.line(number, trace, number === shown));
    data.push(this.marks());
    Plotly.react(this.plot, data, this.layout(), { displaylogo: false, displayModeBar: false, doubleClick: "reset+autosize" });
    if (!this.listening && this.plot.on) {
      this.listening = true;
      this.plot.on("plotly_click", (event) => {
        const id = event.points.find((point) => point.data.meta === "hiscores")?.customdata?.[0];
        if (id !== undefined) this.onHiscore(id);
        else if (event.points.length) this.mark(event.points[0].data.meta);
      });
    }
    const note = byId("walk-note");
    note.textContent = shown === null ? "" : `${plural(this.walkers.size, "walker")}; walker ${shown} ${this.marked === null ? "leads" : "is highlighted"}`
      + (this.stride > 1 ? `; about one step in ${this.stride} is drawn` : "")
      + (this.isComplete ? "" : "; reading the earlier steps");
  }

  line(number, trace, isShown) {
    return {
      type: "scatter", mode: trace.step.length > 1 ? "lines" : "markers", meta: number, name: `walker ${number}`,
      x: trace.step, y: trace[this.kind],
      customdata: trace.step.map((_, i) => [fixed(trace.k[i], 2), fixed(trace.t_l[i], 2), trace.num_particles[i], fixed(trace.best_k[i], 2)]),
      line: { color: isShown ? cssColor("--trace-best") : cssColor("--trace"), width: isShown ? 2 : 1, shape: "hv" },
      marker: { size: 4, color: isShown ? cssColor("--trace-best") : cssColor("--trace") },
      hovertemplate: `<b>walker ${number}</b>, step %{x}<br><i>K</i> = %{customdata[0]}   <i>T</i><sub>L</sub> = %{customdata[1]}<br>`
        + "%{customdata[2]} particles; best <i>K</i> so far %{customdata[3]}<extra></extra>",
    };
  }

  marks() {
    const found = this.hiscores.filter((h) => h.k !== null);
    return {
      type: "scatter", mode: "markers", meta: "hiscores", name: "hiscores", cliponaxis: false,
      x: found.map((h) => h.step), y: found.map((h) => h.k),
      customdata: found.map((h) => [h.hiscore_id, this.hiscores.indexOf(h) + 1, fixed(h.k, 2), h.walker_number]),
      marker: { size: found.map((h) => (h === this.hiscores[0] ? 9 : 7)), color: cssColor("--panel"), line: { color: cssColor("--trace-best"), width: 1.6 } },
      hovertemplate: "<b>hiscore %{customdata[1]}</b><br><i>K</i> = %{customdata[2]}; walker %{customdata[3]}, step %{x}<br>click for the model<extra></extra>",
    };
  }

  range() {
    const all = [];
    for (const trace of this.walkers.values()) for (const k of trace[this.kind]) if (k !== null) all.push(k);
    for (const h of this.hiscores) if (h.k !== null) all.push(h.k);
    if (!all.length) return [-5, 5];
    all.sort((a, b) => a - b);
    const high = all.at(-1);
    const low = Math.min(all[Math.floor(all.length * 0.02)], high - 1); // the first steps may be far below: double-click shows them
    const pad = 0.06 * (high - low);
    return [low - pad, high + 1.6 * pad];
  }

  layout() {
    const ink = cssColor("--ink");
    const muted = cssColor("--muted");
    const axis = { gridcolor: cssColor("--hair"), linecolor: cssColor("--line"), zeroline: false, tickcolor: cssColor("--line"), ticks: "outside", ticklen: 4, tickfont: { color: muted, size: 11.5 } };
    return {
      width: this.plot.clientWidth, height: this.plot.clientHeight, margin: { l: 46, r: 10, t: 6, b: 36 }, showlegend: false, hovermode: "closest", hoverdistance: 24, dragmode: "zoom",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", uirevision: `${this.campaignId}-${this.kind}`,
      font: { family: cssColor("--sans"), color: ink, size: 12 },
      separators: ".\u202f",
      hoverlabel: { bgcolor: cssColor("--panel"), bordercolor: cssColor("--line"), font: { color: ink, size: 12.5, family: cssColor("--sans") }, align: "left" },
      xaxis: { ...axis, title: { text: "step", font: { size: 12, color: muted }, standoff: 4 }, rangemode: "tozero" },
      yaxis: { ...axis, title: { text: this.kind === "k" ? "<i>K</i>" : "best <i>K</i> so far", font: { size: 13, color: muted, family: cssColor("--math") }, standoff: 6 }, range: this.range(), tickformat: "~f",
        zeroline: true, zerolinecolor: cssColor("--line"), zerolinewidth: 1 },
    };
  }

  mark(number) {
    this.marked = this.marked === number ? null : number;
    this.draw();
  }

  drawChips(shown) {
    const numbers = [...this.walkers.keys()].sort((a, b) => a - b);
    if (this.chips.childElementCount !== numbers.length + 1)
      this.chips.replaceChildren(el("span", { class: "aside" }, "walker"), ...numbers.map((number) => el("button", { type: "button", onclick: () => this.mark(number), "aria-label": `walker ${number}`, "data-walker": number }, String(number))));
    for (const chip of this.chips.querySelectorAll("button")) chip.setAttribute("aria-pressed", String(Number(chip.dataset.walker) === shown));
  }
}
