// The life of a command: the ladder, then every event with its evidence as the box reported it.
import { call } from "./api.js";
import { button, clock, day, make, row, table } from "./dom.js";
import { stateName, t } from "./texts.js";

const RUNGS = ["queued", "delivered", "accepted", "gated", "sending", "sent", "acknowledged", "succeeded", "held"];
const DOUBT = ["unknown", "timed_out"];
const GOOD = ["succeeded", "held"];
const CANCELLABLE = ["queued", "delivered", "accepted", "gated"];
const NAMED = ["interlocks", "frames", "answer", "confirmed_by", "contradicted_by", "under_load"];
const FRAMES = ["frames", "answer", "confirmed_by", "contradicted_by"];

export const outcome = (item) => {
  if (GOOD.includes(item.state)) return "good";
  if (!item.finished) return "busy";
  return item.provisional || DOUBT.includes(item.state) ? "doubt" : "bad";
};

export const drawLife = (life) => [
  make("h2", "", t("life")),
  make("p", "", make("strong", "", t("c" + life.command)), " · ", make("span", outcome(life), stateName(life.state)),
    life.provisional ? " · " + t("provisional") : "", life.state === "queued" ? " · " + t("queuedNote") : "", life.reason ? " · " + life.reason : ""),
  because(life),
  make("p", "soft", life.issued_by, " · ", day(life.issued_at), " · ", make("span", "mono", life.id)),
  ladder(life),
  withdraw(life),
  make("div", "", life.events.map(event)),
].filter(Boolean);

// Why it is in this state, in the words of the one who said so.
const because = (life) => {
  const item = life.events.findLast((each) => each.state === life.state && !each.refused);
  if (!item || item.state === "queued" || !(item.reason || item.detail)) return null;
  return make("p", outcome(life), [item.reason, item.detail].filter(Boolean).join(": "));
};

// Time since the command was issued, on the platform's clock: one clock for all rungs.
const after = (life, item) => make("time", "", signed((Date.parse(item.received_at) - Date.parse(life.issued_at)) / 1000));

const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2) + " s";

const ladder = (life) => {
  const told = life.events.filter((item) => !item.refused);
  const reached = new Map(told.map((item) => [item.state, item]));
  const last = Math.max(...RUNGS.map((rung, at) => (reached.has(rung) ? at : -1)));
  const ended = !RUNGS.includes(life.state);
  const rungs = RUNGS.map((rung, at) => {
    const item = reached.get(rung);
    const now = !ended && rung === life.state && !GOOD.includes(rung) ? "now" : "done";
    if (!item && (ended || at < last)) return null;
    return make("li", item ? now : "", stateName(rung), item ? after(life, item) : null);
  }).filter(Boolean);
  if (reached.has("armed")) rungs.unshift(make("li", "done", stateName("armed"), after(life, reached.get("armed"))));
  if (ended) {
    const item = reached.get(life.state);
    rungs.push(make("li", outcome(life), stateName(life.state), item ? after(life, item) : null));
  }
  return make("ol", "ladder", rungs);
};

const withdraw = (life) => {
  if (life.cancel_requested) return life.finished ? null : make("p", "doubt", t("withdrawing"));
  if (life.finished || !CANCELLABLE.includes(life.state)) return null;
  const node = button("", t("withdraw"), async () => {
    node.disabled = true;
    try {
      await call("POST", "bms-control/commands/" + encodeURIComponent(life.id) + "/cancel");
    } catch (error) {
      node.textContent = t("refused") + ": " + (error.data || error.message);
    }
  });
  return make("p", "", node);
};

const event = (item) => make("div", "event",
  make("h3", "", stateName(item.state),
    make("span", "soft", item.at ? t("boxTime") + " " + clock(item.at) : t("origin-" + item.origin)),
    make("span", "soft", t("hereTime") + " " + clock(item.received_at)),
    item.refused ? make("span", "bad", t("refusedWord")) : null),
  item.reason || item.detail ? make("p", "", item.reason ? make("strong", "", item.reason) : null, item.reason && item.detail ? " · " : "", item.detail || "") : null,
  Object.entries(item.evidence || {}).map(([name, value]) => evidence(name, value)));

const evidence = (name, value) => {
  const isList = Array.isArray(value) && value.length > 0 && value.every((item) => item !== null && typeof item === "object" && !Array.isArray(item));
  const title = NAMED.includes(name) ? t(name) : name;
  if (isList && value.every((item) => "rule" in item)) return make("div", "", make("p", "soft", title), interlocks(value));
  if (isList && FRAMES.includes(name)) return make("div", "", make("p", "soft", title), frames(value));
  return make("span", "pair", make("span", "soft", title + ": "), make("span", "mono", typeof value === "string" ? value : JSON.stringify(value)));
};

const interlocks = (checks) => table([t("verdict"), t("rule"), t("signal"), t("seen"), t("age"), t("wanted")], checks.map((check) => row([
  make("span", check.passed === true ? "yes" : "no", check.passed === true ? "✓" : "✗"), plain(check.rule), plain(check.subject), plain(check.value),
  check.age_s === null || check.age_s === undefined ? "–" : plain(check.age_s) + " s", plain(check.wanted),
].map((cell) => make("td", "", cell)))));

const frames = (found) => table([t("atS"), t("frame")], found.map((item) => row([
  make("td", "number", plain(item.at_s)), make("td", "mono", "frame" in item ? plain(item.frame) : JSON.stringify(item)),
])));

const plain = (value) => (value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));
