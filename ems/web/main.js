// The page: key, route, the beat of the loads, the event stream, and whether the platform answers.
import { Refused, call, events, key } from "./api.js";
import * as device from "./device.js";
import { button, make, refreshAges } from "./dom.js";
import * as fleet from "./fleet.js";
import { isChinese, setChinese, t } from "./texts.js";

const LOST_MS = 5000;
const view = document.getElementById("view");
const bar = document.getElementById("bar");
const trouble = document.getElementById("trouble");
const live = make("span", "");
let shown = null;
let running = null;

// One run per route: its loads follow each other, and end when another route begins.
const run = (screen, periodMs) => {
  const state = { stop: new AbortController(), goodAt: performance.now(), wake: () => {}, why: "" };
  state.lost = () => performance.now() - state.goodAt > LOST_MS;
  state.reload = () => state.wake();
  shown = screen(state);
  loop(state, periodMs);
  listen(state);
  return state;
};

const loop = async (state, periodMs) => {
  const mine = shown;
  while (!state.stop.signal.aborted) {
    let woken = false;
    const pause = new Promise((done) => {
      state.wake = () => { woken = true; done(); };
      setTimeout(done, periodMs);
    });
    try {
      await mine.load();
      state.goodAt = performance.now();
      state.why = "";
    } catch (error) {
      if (!accept(state, error)) return;
    }
    if (!woken) await pause;
  }
};

// Says whether to go on after an error. An unknown error of ours is shown, never swallowed.
const accept = (state, error) => {
  if (state.stop.signal.aborted) return false;
  if (error instanceof Refused && error.status === 401) {
    login(t("keyBad"));
    return false;
  }
  if (error instanceof Refused && error.code === 140003) {
    login(t("keyRole"));
    return false;
  }
  state.why = error instanceof Refused ? error.message + (typeof error.data === "string" ? ": " + error.data : "") : "";
  if (!(error instanceof Refused || error instanceof TypeError || error.name === "TimeoutError")) console.error(error);
  return true;
};

const listen = async (state) => {
  for (let waitMs = 1000; !state.stop.signal.aborted; waitMs = Math.min(2 * waitMs, 15_000)) {
    try {
      await events(state.stop.signal, (kind, data) => {
        waitMs = 1000;
        if (shown.wants(kind, data)) state.wake();
      });
    } catch (error) {
      if (state.stop.signal.aborted) return;
    }
    await new Promise((done) => setTimeout(done, waitMs));
  }
};

const drawBar = () => {
  const docs = make("a", "", t("docs"));
  docs.href = "docs";
  document.documentElement.lang = isChinese() ? "zh-CN" : "en";
  document.title = t("title");
  bar.replaceChildren(make("strong", "", t("title")), live, docs,
    button("", t("other"), () => { setChinese(!isChinese()); route(); }),
    ...(key.get() ? [button("", t("forget"), () => { key.forget(); login(""); })] : []));
};

const beat = () => {
  refreshAges();
  if (!running) return;
  const lost = running.lost();
  live.className = lost ? "lost" : "live";
  live.textContent = t(lost ? "lost" : "live");
  trouble.hidden = !lost && !running.why;
  trouble.textContent = lost ? t("lostLong") : running.why;
  shown.draw();
};

const stop = () => {
  if (running) running.stop.abort();
  running = null;
  live.textContent = "";
  live.className = "";
  trouble.hidden = true;
};

const login = (why) => {
  stop();
  key.forget();
  drawBar();
  const input = make("input", "");
  input.type = "password";
  input.autocomplete = "off";
  input.required = true;
  input.setAttribute("aria-label", t("keyAsk"));
  const enter = make("button", "main", t("enter"));
  const form = make("form", "card login", make("h1", "", t("keyAsk")), input, make("p", "soft", t("keyNote")),
    why ? make("p", "bad", why) : null, enter);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    key.set(input.value.trim());
    try {
      await call("GET", "test-apikey");
      route();
    } catch (error) {
      login(error instanceof Refused ? (error.status === 401 ? t("keyBad") : error.message) : t("lost"));
    }
  });
  view.replaceChildren(form);
  input.focus();
};

const route = () => {
  stop();
  if (!key.get()) {
    login("");
    return;
  }
  drawBar();
  const uid = location.hash.startsWith("#/device/") ? decodeURIComponent(location.hash.slice("#/device/".length)) : null;
  running = uid ? run((state) => device.open(view, state, uid), device.PERIOD_MS) : run((state) => fleet.open(view, state), fleet.PERIOD_MS);
};

window.addEventListener("hashchange", route);
setInterval(beat, 250);
route();
