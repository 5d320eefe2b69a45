// The page speaks only the REST API. Unchanged answers cost a 304: the browser keeps entity tags for us.

const ROOT = "/api/v1";

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function get(path) {
  const answer = await fetch(ROOT + path, { cache: "no-cache", headers: { Accept: "application/json" } });
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new ApiError(answer.status, body.detail ?? `the service answered ${answer.status}`);
  }
  return answer.json();
}

export const listCampaigns = async () => {
  const items = [];
  for (let after = 0; after !== null; ) {
    const page = await get(`/campaigns?after=${after}&limit=200`);
    items.push(...page.items);
    after = page.next_after;
  }
  return items;
};
export const getCampaign = (id) => get(`/campaigns/${id}`);
export const listWalkers = (id) => get(`/walkers?campaign=${id}`).then((page) => page.items);
export const listHiscores = (id) => get(`/hiscores?campaign=${id}&limit=10`).then((page) => page.items);
export const getHiscore = (id) => get(`/hiscores/${id}`);
export const listTraces = (id, after, stride) => get(`/traces?campaign=${id}&after=${after}&stride=${stride}`);

// Server-sent events, and what to do when the line is down: the browser reconnects by itself, we only say so.
export function follow(id, { onProgress, onHiscores, onProblem, onLink }) {
  const source = new EventSource(`${ROOT}/events?campaign=${id}`);
  source.addEventListener("open", () => onLink("live"));
  source.addEventListener("error", () => onLink(source.readyState === EventSource.CLOSED ? "closed" : "reconnecting"));
  source.addEventListener("progress", (event) => onProgress(JSON.parse(event.data)));
  source.addEventListener("hiscores", (event) => onHiscores(JSON.parse(event.data).items));
  source.addEventListener("problem", (event) => { source.close(); onProblem(JSON.parse(event.data).detail); });
  return () => source.close();
}
