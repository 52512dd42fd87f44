// What a status means to a person. Anything that is not surely known is unknown, and looks so.
import { make } from "./dom.js";
import { t } from "./texts.js";

const KNOWN = [1, 2, 3, 4];

// Returns 1..4, or null; and why it is null.
export const judged = (line, platformLost) => {
  if (platformLost) return { value: null, why: t("whyLost") };
  if (KNOWN.includes(line.operating_status) && line.disconnected === 0) return { value: line.operating_status, why: "" };
  if (line.stale && !line.observed_at) return { value: null, why: t("whyNever") };
  if (line.stale) return { value: null, why: t("whyStale") };
  return { value: null, why: t(line.disconnected === 0 ? "whyUnclear" : "whyBms") };
};

export const badge = ({ value }) => make("span", "status " + (value === null ? "unknown" : "s" + value), t(value === null ? "unknown" : "s" + value));

export const alarmChip = (line, platformLost) => {
  if (platformLost || line.alarm_status === null) return make("span", "chip l2", "? " + t("alarmsUnknown"));
  if (line.alarm_status === 0) return make("span", "l0", t("noAlarm"));
  return make("span", "chip l" + (line.alarm_level || 3), "▲ " + line.alarm_status);
};

// What of the box a person must know before he acts; normal facts stay silent.
export const warnings = (box, line) => {
  const found = [];
  const warn = (name, detail, level) => {
    const chip = make("span", "chip l" + level, t(name));
    if (typeof detail === "string") chip.title = detail;
    found.push(chip);
  };
  for (const name of ["lockout", "tx_unsafe", "foreign_master", "bus_trouble"]) if (box && box[name]) warn(name, box[name], 3);
  if (line.journal_contradictions) warn("journal", String(line.journal_contradictions), 3);
  if (box && box.read_only) warn("read_only", "", 2);
  if (line.two_step) warn("two_step", "", 1);
  return found;
};
