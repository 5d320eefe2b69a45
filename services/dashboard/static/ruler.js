// Spectra as ruler plots: a mass axis, one column per model, a bar per particle, arrows for decays.

import { KINDS, byId, el, fixed, kindColor, massText, percent, spoken, svg, svgSymbol } from "./dom.js";

const MIN_BRANCHING_RATIO = 0.05;

function niceStep(span, wanted) {
  const raw = span / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => step >= raw);
}

// ticks, and where a mass lies between 0 (bottom) and 1 (top)
function massAxis(models, isLog) {
  const masses = models.flatMap((model) => model.particles.map((p) => p.mass_gev));
  const heaviest = Math.max(100, ...masses);
  if (isLog) {
    const low = Math.max(1, Math.min(...masses, heaviest) * 0.88);
    const span = Math.log(heaviest * 1.12) - Math.log(low);
    const decades = [1, 10, 100, 1000, 10000].flatMap((d) => (span > 4.5 ? [1, 3] : [1, 1.5, 2, 3, 5, 7]).map((f) => f * d));
    return { ticks: decades.filter((mass) => mass >= low && mass <= heaviest * 1.12), at: (mass) => (Math.log(mass) - Math.log(low)) / span };
  }
  const step = niceStep(heaviest, 6);
  const top = Math.ceil((heaviest * 1.03) / step) * step;
  return { ticks: Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step), at: (mass) => mass / top };
}

// Labels keep their order and a minimal distance; they move as little as that allows.
function spread(wanted, distance, low, high) {
  const placed = [...wanted];
  for (let round = 0; round < 60; round++) {
    let moved = false;
    for (let i = 1; i < placed.length; i++) {
      const lack = distance - (placed[i] - placed[i - 1]);
      if (lack > 0.01) { placed[i - 1] -= lack / 2; placed[i] += lack / 2; moved = true; }
    }
    if (placed.length && placed[0] < low) { placed[0] = low; moved = true; }
    if (placed.length && placed.at(-1) > high) { placed[placed.length - 1] = high; moved = true; }
    if (!moved) break;
  }
  return placed;
}

function decayText(particle, decay) {
  return `${spoken(particle.name)} → ${decay.daughters.map(spoken).join(" ")}: ${percent(decay.branching_ratio)}`;
}

// channels between the same two particles are one arrow
function arrowsOf(model) {
  const byPid = new Map(model.particles.map((p) => [p.pid, p]));
  const arrows = [];
  for (const mother of model.particles) {
    const perDaughter = new Map();
    for (const decay of mother.decays) {
      const pid = decay.daughter_pids.map(Math.abs).find((p) => byPid.has(p));
      if (pid === undefined) continue;
      const entry = perDaughter.get(pid) ?? { mother, daughter: byPid.get(pid), branching_ratio: 0, decays: [] };
      entry.branching_ratio += decay.branching_ratio;
      entry.decays.push(decay);
      perDaughter.set(pid, entry);
    }
    arrows.push(...[...perDaughter.values()].filter((a) => a.branching_ratio >= MIN_BRANCHING_RATIO));
  }
  return arrows;
}

// the Standard Model products of a channel, most frequent first: [["h"], ["Z"]]
function products(arrow) {
  const ordered = [...arrow.decays].sort((a, b) => b.branching_ratio - a.branching_ratio);
  return ordered.map((decay) => decay.daughters.filter((name) => !name.startsWith("X_")));
}

// `height` is where along the arrow its label sits, 0 (mother) to 1 (daughter)
function drawArrow(arrow, x, y, withLabel, height = 0.5) {
  const from = y(arrow.mother.mass_gev) + 2;
  const to = y(arrow.daughter.mass_gev) - 2;
  const color = kindColor(arrow.mother.kind);
  const head = Math.min(5, Math.max(2.5, (to - from) / 2));
  const group = svg("g", { class: "decay" }, svg("title", {}, arrow.decays.map((d) => decayText(arrow.mother, d)).join("\n")));
  const label = svg("g");
  group.append(
    svg("line", { x1: x, x2: x, y1: from, y2: to - head + 1, style: `stroke:${color}`, "stroke-width": 0.7 + 1.3 * arrow.branching_ratio, opacity: 0.75 }),
    svg("path", { d: `M${x - 2.6},${to - head} L${x + 2.6},${to - head} L${x},${to} Z`, style: `fill:${color}`, opacity: 0.85 }),
  );
  if (withLabel && to - from > 14) {
    const level = Math.min(to - 4, Math.max(from + 12, from + (to - from) * height + 4));
    const all = products(arrow);
    let dx = x + 5;
    all.slice(0, 2).forEach((names, i) => {
      if (i) { label.append(svg("text", { x: dx, y: level, class: "mass halo" }, ",")); dx += 6; }
      for (const name of names) {
        const drawn = svgSymbol(name, dx, level, 13.5);
        for (const text of drawn.node.children) text.classList.add("halo");
        label.append(drawn.node);
        dx += drawn.width + 1.5;
      }
    });
    label.append(svg("text", { x: dx + 3, y: level, class: "mass halo" }, `${all.length > 2 ? "… " : ""}${percent(arrow.branching_ratio)}`));
  }
  return { group, label };
}

function drawModel(model, left, barWidth, y, limits, { withLabels }) {
  const group = svg("g");
  const arrows = arrowsOf(model);
  const gap = barWidth / (arrows.length + 1);
  arrows.sort((a, b) => a.daughter.mass_gev - b.daughter.mass_gev || b.mother.mass_gev - a.mother.mass_gev);
  const drawn = arrows.map((arrow, i) => drawArrow(arrow, left + gap * (i + 1), y, withLabels, [0.3, 0.5, 0.7][i % 3]));
  group.append(...drawn.map((arrow) => arrow.group), ...drawn.map((arrow) => arrow.label)); // no line crosses a label

  const particles = [...model.particles].sort((a, b) => b.mass_gev - a.mass_gev);
  const labels = spread(particles.map((p) => y(p.mass_gev)), 17, limits.top + 6, limits.bottom - 4);
  particles.forEach((particle, i) => {
    const level = y(particle.mass_gev);
    const end = left + barWidth;
    const color = kindColor(particle.kind);
    const node = svg("g", {}, svg("title", {}, `${spoken(particle.name)}: ${massText(particle.mass_gev)} GeV`));
    node.append(svg("line", { x1: left, x2: end, y1: level, y2: level, style: `stroke:${color}`, "stroke-width": 3, "stroke-linecap": "round" }));
    if (Math.abs(labels[i] - level) > 2) node.append(svg("line", { x1: end + 2, x2: end + 8, y1: level, y2: labels[i], class: "lead" }));
    const label = svgSymbol(particle.name, end + 10, labels[i] + 4.5);
    label.node.style.setProperty("--c", color);
    for (const text of label.node.children) text.style.fill = color;
    node.append(label.node, svg("text", { x: end + 10 + label.width + 5, y: labels[i] + 4.5, class: "mass" }, massText(particle.mass_gev)));
    group.append(node);
  });
  return group;
}

function frame(axis, width, top, bottom, left) {
  const y = (mass) => bottom - (bottom - top) * axis.at(mass);
  const group = svg("g", { "aria-hidden": "true" });
  for (const mass of axis.ticks) {
    group.append(
      svg("line", { x1: left, x2: width, y1: y(mass), y2: y(mass), class: "grid" }),
      svg("text", { x: left - 7, y: y(mass) + 4, class: "tick", "text-anchor": "end" }, String(mass)),
    );
  }
  return { node: group, y };
}

// All hiscores side by side; a click or Enter on a column chooses it.
export function drawRuler(hiscores, chosenId, onChoose, isLog) {
  const host = byId("ruler");
  if (!hiscores.length) {
    host.replaceChildren(el("p", { class: "empty" }, "Spectra appear with the first hiscore."));
    byId("kinds").replaceChildren();
    return;
  }
  const axis = massAxis(hiscores, isLog);
  const left = 40;
  const height = 352;
  const columnWidth = Math.max(112, Math.min(170, (host.clientWidth - left) / Math.max(1, hiscores.length)));
  const width = Math.max(host.clientWidth, left + columnWidth * hiscores.length);
  const limits = { top: 46, bottom: height - 10 };
  const { node, y } = frame(axis, width, limits.top, limits.bottom, left);
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, node);
  hiscores.forEach((hiscore, index) => {
    const x = left + columnWidth * index;
    const name = hiscore.particles.map((p) => `${spoken(p.name)} ${massText(p.mass_gev)} GeV`).join(", ");
    const column = svg("g", {
      class: `col${hiscore.hiscore_id === chosenId ? " chosen" : ""}`, tabindex: 0, role: "button",
      "aria-label": `hiscore ${index + 1}, K ${fixed(hiscore.k, 2)}: ${name}`, "aria-pressed": String(hiscore.hiscore_id === chosenId),
    });
    column.append(
      svg("rect", { x: x + 2, y: 1, width: columnWidth - 4, height: height - 2, rx: 5, class: "hit" }),
      svg("text", { x: x + 12, y: 20, class: "head" }, `${index + 1}`),
      svg("text", { x: x + 12 + (index > 8 ? 22 : 14), y: 20, class: "mass" }, svg("tspan", { class: "sym", style: "font-size:13px" }, "K"), ` = ${fixed(hiscore.k, 2)}`),
    );
    column.append(drawModel(hiscore, x + 12, 38, y, limits, { withLabels: false }));
    column.addEventListener("click", () => onChoose(hiscore.hiscore_id, true));
    column.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); onChoose(hiscore.hiscore_id, true); }
    });
    picture.append(column);
  });
  const scrolled = host.scrollLeft;
  host.replaceChildren(picture);
  host.scrollLeft = scrolled;

  const kinds = Object.keys(KINDS).filter((kind) => hiscores.some((h) => h.particles.some((p) => p.kind === kind)));
  byId("kinds").replaceChildren(...kinds.map((kind) => el("li", {}, el("span", { class: "swatch", style: `color:${kindColor(kind)}` }), KINDS[kind])));
}

// One model, larger, with its decays written beside the arrows.
export function drawSpectrum(hiscore, width, isLog) {
  const height = 330;
  const limits = { top: 14, bottom: height - 12 };
  const left = 40;
  const { node, y } = frame(massAxis([hiscore], isLog), width, limits.top, limits.bottom, left);
  const names = hiscore.particles.map((p) => `${spoken(p.name)} at ${massText(p.mass_gev)} GeV`).join(", ");
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Spectrum: ${names}` }, node);
  picture.append(drawModel(hiscore, left + 14, Math.max(120, width - left - 118), y, limits, { withLabels: true }));
  return el("div", { class: "ruler" }, picture);
}
