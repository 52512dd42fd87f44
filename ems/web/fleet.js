// All devices: one line each.
import { all } from "./api.js";
import { age, make, part, row, table } from "./dom.js";
import { alarmChip, badge, judged, warnings } from "./status.js";
import { t } from "./texts.js";

export const PERIOD_MS = 2000;

export const open = (root, state) => {
  const summary = part("summary");
  const list = part("card");
  root.replaceChildren(make("h1", "", t("devices")), summary.node, list.node);
  let lines = [];
  let at = performance.now();
  const draw = () => {
    summary.show([counts(lines, state.lost())], ([found]) => found.map(([name, count]) => (
      make("span", "chip " + (name === "nUnknown" ? "l2" : "l1"), count + " " + t(name)))));
    list.show([lines, state.lost()], () => (lines.length ? drawLines(lines, at, state.lost()) : make("p", "soft", t("none"))));
  };
  return {
    draw,
    wants: () => true,
    load: async () => {
      lines = await all("fleet");
      at = performance.now();
      draw();
    },
  };
};

const counts = (lines, lost) => {
  const found = new Map();
  for (const line of lines) {
    const { value } = judged(line, lost);
    const name = value === null ? "nUnknown" : "n" + value;
    found.set(name, (found.get(name) || 0) + 1);
  }
  return [...found].sort();
};

const drawLines = (lines, at, lost) => table(
  [t("device"), t("status"), t("age"), t("alarms"), t("box"), t("progress")],
  lines.map((line) => {
    const status = judged(line, lost);
    const link = make("a", "", line.name);
    link.href = "#/device/" + encodeURIComponent(line.device_uid);
    const shown = row([
      [link, make("div", "soft mono", line.device_uid), line.location ? make("div", "soft", line.location) : null],
      [badge(status), status.why ? make("div", "why", status.why) : null],
      age(line.age_ms, at, { never: t("never") }),
      alarmChip(line, lost),
      warnings(line.box, line),
      String(line.unfinished || "–"),
    ].map((cell) => make("td", "", cell)), "choice");
    shown.addEventListener("click", () => { location.hash = link.hash; });
    return shown;
  }));
