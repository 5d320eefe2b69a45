// The table of hiscores and the table of walkers.

import { NONE, ago, byId, el, fixed, massText, significant, symbol, thousands } from "./dom.js";

// An unbounded signal strength is a statement, not a gap: nothing constrains the model.
export const muMax = (hiscore) => (hiscore.mu_max === null ? "∞" : fixed(hiscore.mu_max, 2));

// A cell whose label is read on a phone, where the table is a list of cards and its head is not shown.
const math = (base, sub) => el("i", { class: "m" }, base, sub ? el("sub", {}, sub) : null);
function cell(label, cls, ...content) {
  return el("td", { class: cls }, label ? el("span", { class: "lab", "aria-hidden": "true" }, label) : null, ...content);
}

function members(hiscore) {
  return hiscore.combination.flatMap((member, i) => [i ? ", " : "", el("span", {}, member.analysis_id)]);
}

export function drawHiscores(hiscores, chosenId, freshIds, onChoose) {
  byId("no-hiscores").hidden = hiscores.length > 0;
  byId("hiscore-table").hidden = hiscores.length === 0;
  const focused = document.activeElement?.closest?.("#hiscore-table tr")?.dataset.id;
  const rows = hiscores.map((hiscore, index) => {
    const isChosen = hiscore.hiscore_id === chosenId;
    const row = el("tr", { class: [isChosen && "chosen", freshIds.has(hiscore.hiscore_id) && "fresh"].filter(Boolean).join(" ") || null, "data-id": hiscore.hiscore_id },
      cell(null, "n", el("button", { type: "button", "aria-label": `show hiscore ${index + 1}`, "aria-expanded": String(isChosen), "aria-controls": "detail" }, String(index + 1))),
      cell(math("K"), "n k", fixed(hiscore.k, 2)),
      cell(math("T", "L"), "n half", fixed(hiscore.t_l, 2)),
      cell(null, "full", el("div", { class: "particles" }, hiscore.particles.map((p) => el("span", {}, symbol(p.name), el("span", { class: "g" }, massText(p.mass_gev)))))),
      cell(null, "full members", ...members(hiscore)),
      cell(math("μ", "max"), "n", muMax(hiscore)),
      cell(math("r", "obs"), "n", fixed(hiscore.verdict.r_obs, 2)),
      cell("walker", "n", String(hiscore.walker_number)),
      cell("step", "n", thousands(hiscore.step)));
    row.addEventListener("click", () => onChoose(hiscore.hiscore_id, true));
    return row;
  });
  const body = byId("hiscore-table").tBodies[0];
  body.replaceChildren(...rows);
  if (focused) body.querySelector(`tr[data-id="${focused}"] button`)?.focus({ preventScroll: true });
}

export function drawWalkers(walkers) {
  byId("walker-table").tBodies[0].replaceChildren(...walkers.map((w) => el("tr", {},
    el("td", { class: "n" }, String(w.walker_number)),
    el("td", {}, w.status),
    el("td", { class: "n" }, thousands(w.step)),
    el("td", { class: "n" }, fixed(w.k, 2)),
    el("td", { class: "n" }, fixed(w.t_l, 2)),
    el("td", { class: "n" }, fixed(w.best_k, 2)),
    el("td", { class: "n" }, w.steps_per_s === null ? NONE : significant(w.steps_per_s, 3)),
    el("td", {}, ago(w.heartbeat_at)))));
}
