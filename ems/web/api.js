// Calls of the platform. The key lives in sessionStorage: it goes with the tab.
const BASE = new URL("wad/ems/v1/api/", document.baseURI);
const KEY = "ems-key";
const CALL_MS = 8000;

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

export class Refused extends Error {
  constructor(status, body) {
    super(body.message || "HTTP " + status);
    this.status = status;
    this.code = body.code;
    this.data = body.data;
  }
}

const address = (path, query) => {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query || {})) url.searchParams.set(name, value);
  return url;
};

// Returns `data` of a success (HTTP 200 and code 0 together); anything else is thrown.
export const call = async (method, path, { query, body, headers } = {}) => {
  const sent = { "X-API-Key": key.get() || "", ...headers };
  if (body) sent["Content-Type"] = "application/json";
  const answer = await fetch(address(path, query), {
    method, headers: sent, body: body && JSON.stringify(body), cache: "no-store", redirect: "error",
    credentials: "omit", signal: AbortSignal.timeout(CALL_MS),
  });
  const said = await answer.json();
  if (answer.status !== 200 || (said.code !== 0 && said.message !== "ok")) throw new Refused(answer.status, said);
  return said.data;
};

// All pages of a list.
export const all = async (path, query) => {
  const found = [];
  for (let page = 1; ; page += 1) {
    const data = await call("GET", path, { query: { ...query, page, "page-size": 200 } });
    found.push(...data.list);
    if (found.length >= data.total || data.list.length === 0) return found;
  }
};

// Server-sent events by fetch, as EventSource cannot send the key.
export const events = async (signal, act) => {
  const headers = { "X-API-Key": key.get() || "" };
  const answer = await fetch(address("events"), { headers, signal, cache: "no-store", credentials: "omit" });
  if (!answer.ok) throw new Refused(answer.status, await answer.json());
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let kept = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (kept + value).split("\n\n");
    kept = blocks.pop();
    blocks.forEach((block) => deliver(block, act));
  }
};

const deliver = (block, act) => {
  const lines = block.split("\n");
  const field = (name) => (lines.find((line) => line.startsWith(name)) || "").slice(name.length);
  if (field("event: ")) act(field("event: "), JSON.parse(field("data: ")));
};

// 128 random bits; randomUUID is missing on plain http.
export const randomId = () => [...crypto.getRandomValues(new Uint8Array(16))]
  .map((byte) => byte.toString(16).padStart(2, "0")).join("");
