// One device: status, box, alarms, telemetry, commands and the life of one of them.
import { call } from "./api.js";
import { age, button, clock, day, make, part, row, table } from "./dom.js";
import { drawLife, outcome } from "./life.js";
import { ask } from "./order.js";
import { badge, judged, warnings } from "./status.js";
import { field, label, place, stateName, t } from "./texts.js";

export const PERIOD_MS = 1000;
const FACTS = ["lockout", "tx_unsafe", "foreign_master", "bus_trouble", "read_only", "two_step", "journal", "battery", "version"];
const SHOWN = 20;

export const open = (root, state, uid) => {
  const parts = { head: part(""), status: part("card big"), orders: part("card"), alarms: part("card"), telemetry: part("card"), commands: part("card log"), life: part("card") };
  const column = (...names) => make("div", "", names.map((name) => parts[name].node));
  root.replaceChildren(parts.head.node, make("div", "columns", column("status", "orders", "alarms", "telemetry"), column("commands", "life")));
  const known = { line: null, details: null, commands: [], chosen: null, life: null, at: 0 };
  let followNewest = true;

  const choose = (id) => {
    followNewest = false;
    known.chosen = id;
    known.life = null;
    state.reload();
  };
  const sent = (id) => {
    choose(id);
    followNewest = true;
  };
  const draw = () => drawAll(parts, known, state.lost(), { choose, sent });
  return {
    draw,
    wants: (kind, data) => data.device_uid === uid,
    load: async () => {
      const query = { device_uid: uid };
      if (known.line === null) known.line = await lineOf(uid);
      known.details = await call("GET", "bms-control/details", { query });
      known.at = performance.now();
      known.commands = (await call("GET", "bms-control/commands", { query: { ...query, "page-size": SHOWN } })).list;
      if (followNewest && known.commands.length) known.chosen = known.commands[0].id;
      const listed = known.commands.find((item) => item.id === known.chosen);
      if (known.chosen && (!known.life || !listed || listed.updated_at !== known.life.updated_at || !listed.finished)) {
        known.life = await call("GET", "bms-control/commands/" + encodeURIComponent(known.chosen));
      }
      draw();
    },
  };
};

const lineOf = async (uid) => {
  for (let page = 1; ; page += 1) {
    const data = await call("GET", "fleet", { query: { page, "page-size": 200 } });
    const found = data.list.find((line) => line.device_uid === uid);
    if (found || data.list.length === 0) return found || { device_uid: uid, name: uid, location: null };
  }
};

const drawAll = (parts, known, lost, acts) => {
  const { line, details } = known;
  if (!details) return;
  const status = judged(details, lost);
  parts.head.show([line, details.box, details.two_step, details.journal_contradictions], () => {
    const back = make("a", "", t("back"));
    back.href = "#/";
    return [back, make("h1", "", line.name, " ", make("span", "soft mono", line.device_uid)),
      make("div", "", warnings(details.box, details))];
  });
  parts.status.show([details, status], () => drawStatus(known, status));
  parts.orders.show([details.armed && details.armed.by, status, line.name], () => drawOrders(line, status, details, acts.sent));
  parts.alarms.show([details.alarms, details.alarm_status, details.stale, lost], () => drawAlarms(details, lost));
  parts.telemetry.show([details.telemetry, details.stale, lost], () => drawTelemetry(details, lost));
  parts.commands.show([known.commands, known.chosen], () => drawCommands(known, acts.choose));
  parts.life.show([known.life], () => (known.life ? drawLife(known.life) : [make("h2", "", t("life")), make("p", "soft", t("choose"))]));
};

const drawStatus = ({ details, line, at }, status) => {
  const facts = make("dl", "facts");
  const fact = (name, value) => facts.append(make("dt", "", name), make("dd", "", value));
  fact(t("age"), age(details.age_ms, at, { never: details.observed_at ? "?" : t("never") }));
  fact(t("observed"), details.observed_at ? day(details.observed_at) : t("never"));
  fact(t("received"), day(details.received_at));
  if (line.location) fact(t("location"), line.location);
  for (const name of FACTS) fact(t(name), factText(name, details));
  return [badge(status), status.why ? make("p", "why", status.why + " – " + t("notOpen")) : null, facts].filter(Boolean);
};

const factText = (name, details) => {
  if (name === "two_step") return t(details.two_step ? "yes" : "no");
  if (name === "journal") return details.journal_contradictions ? make("span", "bad", t("yes") + " (" + details.journal_contradictions + ")") : t("no");
  const value = (details.box || {})[name];
  if (value === undefined || value === null) return "–";
  if (value === "" || value === false) return t("no");
  if (value === true) return make("span", "doubt", t("yes"));
  return make("span", name === "version" || name === "battery" ? "" : "bad", typeof value === "string" ? value : JSON.stringify(value));
};

const drawOrders = (line, status, details, sent) => [
  make("h2", "", t("orders")),
  make("div", "orders", [1, 2, 3].map((command) => button(command === 2 ? "danger" : "", t("c" + command), () => ask({ line, status, command, sent })))),
  details.armed ? make("p", "why", t("armedBy") + " " + details.armed.by) : null,
].filter(Boolean);

const drawAlarms = (details, lost) => {
  const head = make("h2", "", t("alarms"));
  if (lost || details.alarm_status === null) return [head, make("p", "why", "? " + t("alarmsUnknown"))];
  const alarms = details.alarms || [];
  if (!alarms.length) return [head, details.alarm_status ? make("p", "bad", String(details.alarm_status)) : make("p", "soft", t("noAlarm"))];
  const rows = [...alarms].sort((a, b) => b.level - a.level).map((alarm) => row([
    make("span", "chip l" + alarm.level, String(alarm.level)), [label(alarm), make("div", "soft mono", alarm.key)], alarm.since ? day(alarm.since) : "–",
  ].map((cell) => make("td", "", cell))));
  return [head, table([t("level"), t("alarm"), t("since")], rows)];
};

const drawTelemetry = (details, lost) => {
  const entries = Object.entries(details.telemetry || {}).sort(([a], [b]) => place(a) - place(b));
  const old = entries.length && (details.stale || lost || details.disconnected) ? make("p", "why", t("oldValues")) : null;
  const rows = entries.map(([name, value]) => {
    const { label: words, unit } = field(name);
    return row([words, make("td", "number", Array.isArray(value) ? many(value, unit) : one(value, unit))]);
  });
  return [make("h2", "", t("telemetry")), old, rows.length ? table([t("name"), t("value")], rows) : make("p", "soft", t("noTelemetry"))].filter(Boolean);
};

const one = (value, unit) => (value === null ? "?" : value + (unit ? " " + unit : ""));

const many = (values, unit) => {
  const good = values.filter((value) => value !== null);
  if (!good.length) return values.length + " " + t("missing");
  const range = Math.min(...good) + " … " + Math.max(...good) + (unit ? " " + unit : "");
  const gone = values.length - good.length;
  return [range, make("div", "soft", good.length + " " + t("cells") + (gone ? ", " + gone + " " + t("missing") : ""))];
};

const drawCommands = ({ commands, chosen }, choose) => {
  const head = make("h2", "", t("commands"));
  if (!commands.length) return [head, make("p", "soft", t("noCommands"))];
  const rows = commands.map((item) => {
    const link = button("", t("c" + item.command), () => choose(item.id));
    const shown = row([link, make("span", outcome(item), stateName(item.state)), item.issued_by, clock(item.issued_at)]
      .map((cell) => make("td", "", cell)), item.id === chosen ? "choice chosen" : "choice");
    shown.addEventListener("click", () => choose(item.id));
    return shown;
  });
  return [head, table([t("command"), t("state"), t("by"), t("at")], rows)];
};
