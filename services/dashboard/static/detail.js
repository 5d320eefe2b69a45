// One hiscore with everything behind its score: terms of K, combination, critics, spectrum, decays, production.

import { NONE, byId, el, fixed, massText, percent, plural, significant, symbol, symbols, thousands } from "./dom.js";
import { drawSpectrum } from "./ruler.js";
import { muMax } from "./hiscores.js";

const m = (base, sub) => el("i", { class: "m" }, base, sub ? el("sub", {}, sub) : null);
const MAX_PRODUCTION = 8;

function term(label, value, title, note) {
  return el("div", { title }, el("dt", {}, ...label), el("dd", {}, value, note ? el("small", {}, note) : null));
}

function terms(h) {
  const prior = h.prior_terms;
  const ssms = Number(prior.num_ssms.toFixed(1));
  const counts = `${plural(prior.num_particles, "particle")}, ${plural(prior.num_branching_ratios, "branching ratio")}, ${ssms} signal strength${ssms === 1 ? "" : "s"}`;
  return el("dl", { class: "terms" },
    term([m("K")], fixed(h.k, 2), "T_L + 2 ln π"),
    term([m("T", "L")], fixed(h.t_l, 2), "2 ln L(μ̂)/L(0) of the best combination"),
    term(["2 ln ", m("π")], h.log_prior === null ? NONE : fixed(2 * h.log_prior, 2), "prior: particles with the lightest, distinct branching ratios minus one per particle, classes of equal signal strengths plus 0.1 per further member", counts),
    term([m("μ̂")], fixed(h.mu_hat, 2), "best-fit signal strength"),
    term([m("μ", "max")], muMax(h), "largest signal strength the critics allow"),
    term([m("r", "obs"), " / ", m("r", "exp")], `${fixed(h.verdict.r_obs, 2)} / ${fixed(h.verdict.r_exp, 2)}`, "predicted cross section over 95 % CL limit, observed and expected"));
}

function amount(member, value) {
  if (value === null) return NONE;
  return member.unit === "fb" ? `${significant(value, 2)} fb` : Number.isInteger(value) ? thousands(value) : significant(value, 3);
}

function expected(member) {
  if (member.expected === null) return NONE;
  if (member.unit === "fb") return amount(member, member.expected);
  return member.expected_error === null ? fixed(member.expected, 2) : `${fixed(member.expected, 2)} ± ${fixed(member.expected_error, 2)}`;
}

function pull(value, largest) {
  if (value === null) return null;
  const share = (27 * Math.abs(value)) / largest;
  const side = value >= 0 ? `left:27px;width:${share}px` : `right:27px;width:${share}px`;
  return el("span", { class: "bar-cell", "aria-hidden": "true" }, el("i", { class: value < 0 ? "neg" : null, style: side }));
}

const KIND_TITLES = { ul: "upper limit: truncated Gaussian from observed and expected limit", em: "efficiency map: one signal region", comb: "the analysis's own combination of its signal regions" };

function combination(h, links) {
  const largest = Math.max(1e-9, ...h.combination.map((member) => Math.abs(member.log_likelihood_ratio ?? 0)));
  const head = ["Analysis", "Type", "Dataset", "Topologies", ["n", "Observed"], ["n", "Expected"], ["n", "Signal"], ["n", "Approx. σ"], ["n", "Δ ln L"], "Particles"];
  const rows = h.combination.map((member) => {
    const link = links.get(member.analysis_id);
    const title = link ? `${link.sqrts_tev} TeV, ${significant(link.lumi_ifb, 4)} fb⁻¹` : null;
    const name = link?.url ? el("a", { href: link.url, rel: "noreferrer", title }, member.analysis_id) : el("span", { title }, member.analysis_id);
    const lab = (text) => el("span", { class: "lab", "aria-hidden": "true" }, text);
    return el("tr", {},
      el("th", { scope: "row", class: "half" }, name),
      el("td", { title: KIND_TITLES[member.kind] }, member.kind),
      el("td", {}, member.dataset_id ?? "-"),
      el("td", { class: "half" }, member.txnames.join(", ")),
      el("td", { class: "n half sink" }, lab("observed"), amount(member, member.observed)),
      el("td", { class: "n half sink" }, lab("expected"), expected(member)),
      el("td", { class: "n third sink" }, lab("signal"), amount(member, member.signal)),
      el("td", { class: "n third sink" }, member.z === null ? NONE : `${fixed(member.z, 1)} σ`),
      el("td", { class: "n third sink" }, lab("Δ ln L"), pull(member.log_likelihood_ratio, largest), fixed(member.log_likelihood_ratio, 2)),
      el("td", { class: "half" }, ...symbols(member.particles)));
  });
  return el("div", { class: "scroll" }, el("table", { class: "members-table cards" },
    el("caption", { class: "visually-hidden" }, "Members of the best combination"),
    el("thead", {}, el("tr", {}, head.map((text) => (Array.isArray(text) ? el("th", { scope: "col", class: text[0] }, text[1]) : el("th", { scope: "col" }, text))))),
    el("tbody", {}, rows)));
}

function decays(h) {
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Particle"), el("th", { scope: "col", class: "n" }, "Mass [GeV]"), el("th", { scope: "col" }, "Decays"))),
    el("tbody", {}, h.particles.map((p) => el("tr", {},
      el("td", {}, symbol(p.name)),
      el("td", { class: "n" }, massText(p.mass_gev)),
      el("td", {}, p.decays.length
        ? p.decays.map((d) => el("span", { class: "channel" }, ...symbols(d.daughters, "\u2009"), el("span", { class: "g" }, `\u2002${percent(d.branching_ratio)}`)))
        : el("span", { class: "aside" }, "stable")))))));
}

function production(h) {
  const xsec = (channel, sqrts) => channel.xsecs.find((x) => x.sqrts_tev === sqrts)?.xsec_fb ?? null;
  const shown = h.production.slice(0, MAX_PRODUCTION);
  const pair = (channel) => channel.pids.flatMap((pid, i) => {
    const drawn = symbol(channel.particles[i]);
    if (pid < 0) { drawn.classList.add("anti"); drawn.prepend(el("span", { class: "visually-hidden" }, "anti ")); }
    return i ? ["\u2009", drawn] : [drawn];
  });
  const table = el("div", { class: "scroll narrow" }, el("table", {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Production"), el("th", { scope: "col", class: "n" }, m("κ")), el("th", { scope: "col", class: "n" }, m("σ"), " 8 TeV [fb]"), el("th", { scope: "col", class: "n" }, m("σ"), " 13 TeV [fb]"))),
    el("tbody", {}, shown.map((channel) => el("tr", {},
      el("td", {}, ...pair(channel)),
      el("td", { class: "n" }, significant(channel.ssm, 3)),
      el("td", { class: "n" }, significant(xsec(channel, 8), 3)),
      el("td", { class: "n" }, significant(xsec(channel, 13), 3)))))));
  const rest = h.production.length - shown.length;
  return rest > 0 ? [table, el("p", { class: "aside" }, `and ${plural(rest, "smaller channel")} in the SLHA file`)] : [table];
}

function failures(h) {
  const failed = Object.entries(h.failures).filter(([, count]) => count > 0);
  if (!failed.length) return null;
  return el("p", { class: "sentence" }, `Likelihoods that could not be computed for this model: ${failed.map(([name, count]) => `${name} (${count})`).join(", ")}. They count neither for nor against it.`);
}

function nearest(h) {
  const found = h.verdict.constraints.slice(0, 3).map((c) => {
    const where = c.dataset_id ?? c.txnames.join(", ");
    const expected = c.r_exp === null ? "" : ` (expected ${fixed(c.r_exp, 2)})`;
    return `${c.analysis_ids.join(" with ")}${where ? `, ${where}` : ""}: r = ${fixed(c.r_obs, 2)}${expected}`;
  });
  return found.length ? el("p", { class: "sentence" }, `Nearest published results: ${found.join("; ")}.`) : null;
}

function undefinedOnes(h) {
  if (!h.verdict.num_undefined) return null;
  const names = Object.entries(h.verdict.undefined).map(([name, count]) => `${name} (${count})`).join(", ");
  return el("p", { class: "sentence" }, `${plural(h.verdict.num_undefined, "prediction")} could not be judged${names ? `: ${names}` : ""}.`);
}

export function drawDetail(h, rank, isLog) {
  const host = byId("detail");
  host.hidden = false;
  const links = new Map(h.analyses.map((a) => [a.analysis_id, a]));
  const base = `/api/v1/hiscores/${h.hiscore_id}`;
  const excluded = h.verdict.is_excluded;
  host.replaceChildren(
    el("header", {},
      el("h2", { id: "h-detail", tabindex: "-1" }, rank ? `Hiscore ${rank}` : `Model ${h.hiscore_id}`),
      el("p", { class: "aside" }, `found by walker ${h.walker_number} at step ${thousands(h.step)}`),
      el("p", { class: "download" }, el("a", { href: `${base}.slha`, download: `hiscore-${h.hiscore_id}.slha` }, "SLHA file"), el("a", { href: base }, "JSON"))),
    terms(h),
    combination(h, links),
    el("div", { class: "block cols" },
      el("div", {},
        el("h3", {}, "Spectrum ", el("span", { class: "unit" }, "mass [GeV]")),
        drawSpectrum(h, Math.max(280, Math.min(380, host.clientWidth - 30)), isLog),
        el("div", { class: "block" },
          el("h3", {}, "Critics"),
          el("p", { class: `reason${excluded ? " excluded" : ""}` }, `${excluded ? "Excluded" : "Allowed"}: ${h.verdict.reason}`),
          nearest(h),
          undefinedOnes(h),
          failures(h))),
      el("div", {}, decays(h), el("div", { class: "block" }, ...production(h)))));
}

export function hideDetail() {
  byId("detail").hidden = true;
}
