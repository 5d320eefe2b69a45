// State of the page and its live updates. #campaign=2&hiscore=17 in the address leads straight to a model.

import { follow, getCampaign, getHiscore, listCampaigns, listHiscores, listWalkers } from "./api.js";
import { NONE, ago, byId, el, fixed, plural, significant, thousands } from "./dom.js";
import { drawDetail, hideDetail } from "./detail.js";
import { drawHiscores, drawWalkers } from "./hiscores.js";
import { drawRuler } from "./ruler.js";
import { Traces } from "./traces.js";

const state = { campaignId: null, campaign: null, hiscores: [], chosen: null, isPinned: false, detail: null, seen: new Set(), stop: null, link: "connecting", isLog: true };
const traces = new Traces((id) => choose(id, true));

const SILENT_MIN = 3; // a running campaign says more than once a minute that it lives
const APPROXIMATE_WHY = "Efficiencies and limits are low-order fits to the published maps; hiscores found with them say nothing about nature.";
const VERDICT_NAMES = {
  accepted: "accepted", metropolis: "refused by Metropolis", excluded: "excluded by critics", no_prediction: "unseen by any result", no_likelihood: "without likelihood",
  fit_failed: "fit failed", non_finite: "not finite", not_rescaled: "not rescalable", unchanged: "unchanged",
};

function problem(text) {
  byId("problem").textContent = text ?? "";
  byId("problem").hidden = !text;
}

function address() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const number = (name) => Number(parameters.get(name)) || null;
  return { campaign: number("campaign"), hiscore: number("hiscore") };
}

function writeAddress() {
  const parts = [`campaign=${state.campaignId}`];
  if (state.isPinned && state.chosen) parts.push(`hiscore=${state.chosen}`);
  history.replaceState(null, "", `#${parts.join("&")}`);
}

// --- header and facts ---

function drawLink() {
  const running = state.campaign?.status === "running";
  const words = { live: running ? "live" : "up to date", reconnecting: "service not reachable, trying again", connecting: "connecting", closed: "not connected" };
  byId("link").textContent = words[state.link];
}

function drawCampaign(campaign) {
  state.campaign = campaign;
  document.title = `${campaign.name}: K = ${fixed(campaign.best_k, 2)} (protomodels)`;
  byId("campaign-name").textContent = campaign.name;
  byId("campaign-name").hidden = !byId("campaign").hidden;
  const silent = (Date.now() - Date.parse(campaign.updated_at)) / 60000;
  const isSilent = campaign.status === "running" && silent > SILENT_MIN;
  byId("state").textContent = isSilent ? `running, silent for ${Math.round(silent)} min` : campaign.status;
  byId("state").className = `state ${isSilent ? "silent" : campaign.status}`;
  byId("seed").textContent = `seed ${campaign.seed}`;
  byId("approximate").hidden = !campaign.is_approximate;
  byId("approximate-why").textContent = APPROXIMATE_WHY;
  problem(campaign.error ? `The campaign stopped: ${campaign.error}` : null);

  const steps = byId("f-steps");
  steps.replaceChildren(thousands(campaign.steps_done), el("span", { class: "of" }, ` of ${thousands(campaign.steps_total)}`));
  byId("f-progress").max = campaign.steps_total || 1;
  byId("f-progress").value = campaign.steps_done;
  byId("f-rate").textContent = campaign.steps_per_s === null ? NONE : significant(campaign.steps_per_s, 3);
  byId("f-walkers").textContent = String(campaign.num_walkers);
  byId("f-best").textContent = fixed(campaign.best_k, 2);
  byId("f-tl").textContent = fixed(campaign.best_t_l, 2);
  const counts = Object.entries(campaign.verdict_counts).sort(([, a], [, b]) => b - a);
  byId("f-verdicts").replaceChildren(...(counts.length
    ? counts.map(([name, count]) => el("span", {}, el("b", {}, thousands(count)), ` ${VERDICT_NAMES[name] ?? name.replaceAll("_", " ")}`))
    : [NONE]));

  const versions = campaign.versions.protomodels && campaign.versions.protomodels !== "unknown" ? `protomodels ${campaign.versions.protomodels}` : "";
  const started = new Date(campaign.created_at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  const told = Object.values(campaign.failure_counts).reduce((a, b) => a + b, 0);
  byId("provenance").textContent = [
    `${campaign.results_label} (${campaign.results_hash.slice(0, 10)})`, `combinability ${campaign.combinability_hash.slice(0, 10)}`,
    versions, `started ${started}, updated ${ago(campaign.updated_at)}`,
    told ? `${plural(told, "likelihood evaluation")} failed` : "", campaign.incidents.length ? plural(campaign.incidents.length, "incident") : "",
  ].filter(Boolean).join(" · ");
  drawLink();
}

// --- hiscores ---

const rankOf = (id) => state.hiscores.findIndex((h) => h.hiscore_id === id) + 1;

function takeHiscores(hiscores) {
  const fresh = new Set(state.seen.size ? hiscores.map((h) => h.hiscore_id).filter((id) => !state.seen.has(id)) : []);
  for (const h of hiscores) state.seen.add(h.hiscore_id);
  state.hiscores = hiscores;
  // without a choice of the reader, the page shows the best model; a chosen one stays even when it leaves the list
  if (!state.isPinned) state.chosen = hiscores[0]?.hiscore_id ?? null;
  drawLists(fresh);
  traces.setHiscores(hiscores);
  showDetail();
}

function drawLists(fresh = new Set()) {
  drawHiscores(state.hiscores, state.chosen, fresh, choose);
  drawRuler(state.hiscores, state.chosen, choose, state.isLog);
}

async function showDetail() {
  const id = state.chosen;
  if (id === null) { hideDetail(); return; }
  const listed = state.hiscores.find((h) => h.hiscore_id === id);
  const key = `${id} ${listed?.model_hash ?? ""} ${rankOf(id)}`;
  if (state.detail === key) return;
  try {
    const hiscore = await getHiscore(id);
    if (state.chosen !== id) return;
    drawDetail(hiscore, rankOf(id), state.isLog);
    state.detail = key;
  } catch (error) {
    if (error.status === 404 && state.isPinned) { state.isPinned = false; takeHiscores(state.hiscores); return; }
    problem(error.message);
  }
}

async function choose(id, byReader) {
  state.chosen = id;
  state.isPinned = byReader;
  drawLists();
  writeAddress();
  await showDetail();
  if (byReader) byId("detail").scrollIntoView({ block: "nearest" });
}

// --- campaigns ---

async function open(id, hiscoreId = null) {
  state.stop?.();
  Object.assign(state, { campaignId: id, hiscores: [], chosen: hiscoreId, isPinned: hiscoreId !== null, detail: null, seen: new Set(), link: "connecting" });
  traces.reset(id);
  writeAddress();
  const [campaign, walkers, hiscores] = await Promise.all([getCampaign(id), listWalkers(id), listHiscores(id)]);
  if (state.campaignId !== id) return;
  byId("page").hidden = false;
  byId("nothing").hidden = true;
  drawCampaign(campaign);
  drawWalkers(walkers);
  takeHiscores(hiscores);
  traces.update().catch((error) => problem(error.message));
  state.stop = follow(id, {
    onProgress: ({ campaign, walkers }) => {
      drawCampaign(campaign);
      drawWalkers(walkers);
      traces.update().catch((error) => problem(error.message));
    },
    onHiscores: takeHiscores,
    onProblem: problem,
    onLink: (link) => { state.link = link; drawLink(); },
  });
}

async function start() {
  const campaigns = await listCampaigns();
  if (!campaigns.length) {
    byId("nothing").hidden = false;
    byId("link").textContent = "waiting for a campaign";
    setTimeout(() => start().catch(fail), 3000);
    return;
  }
  const select = byId("campaign");
  select.replaceChildren(...[...campaigns].reverse().map((c) => el("option", { value: c.campaign_id }, `${c.name} (${c.campaign_id})`)));
  select.hidden = campaigns.length < 2;
  const wanted = address();
  const running = [...campaigns].reverse().find((c) => c.status === "running");
  const chosen = campaigns.find((c) => c.campaign_id === wanted.campaign) ?? running ?? campaigns.at(-1);
  select.value = String(chosen.campaign_id);
  await open(chosen.campaign_id, wanted.hiscore);
}

function fail(error) {
  problem(error.message === "Failed to fetch" ? "The service cannot be reached." : error.message);
  setTimeout(() => start().then(() => problem(null)).catch(fail), 5000);
}

// --- theme ---

const THEMES = ["auto", "light", "dark"];
function showTheme(choice) {
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  byId("theme").textContent = choice;
  byId("theme").setAttribute("aria-label", `Colour theme: ${choice === "auto" ? "as the system" : choice}`);
  traces.draw();
}
byId("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % THEMES.length];
  try { if (next === "auto") localStorage.removeItem("protomodels-theme"); else localStorage.setItem("protomodels-theme", next); } catch { /* not kept, then */ }
  showTheme(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => traces.draw());

byId("campaign").addEventListener("change", (event) => open(Number(event.target.value)).catch(fail));
function redraw() {
  state.detail = null;
  drawLists();
  traces.draw();
  showDetail();
}
let resized = null;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(redraw, 150); });
for (const input of document.querySelectorAll("#mass-scale input"))
  input.addEventListener("change", () => { state.isLog = input.value === "log"; redraw(); });
setInterval(() => { if (state.campaign) drawCampaign(state.campaign); }, 30000);

showTheme(document.documentElement.dataset.theme ?? "auto");
start().catch(fail);
