// The only place that makes elements. Text goes in as text nodes, never as markup.
export const make = (tag, className, ...children) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(text(child));
  return node;
};

const text = (child) => (child instanceof Node ? child : document.createTextNode(String(child)));

export const button = (className, label, act) => {
  const node = make("button", className, label);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
};

export const table = (heads, rows) => {
  const head = make("tr", "", heads.map((cell) => make("th", "", cell)));
  return make("div", "scroll", make("table", "", make("thead", "", head), make("tbody", "", rows)));
};

export const row = (cells, className) => make("tr", className, cells.map((cell) => (
  cell instanceof HTMLTableCellElement ? cell : make("td", "", cell))));

// Draws a part again only when what it shows has changed: focus, selection and scrolling stay.
export const part = (className) => {
  const node = make("section", className);
  let shown = null;
  return { node, show: (data, draw) => {
    const now = JSON.stringify(data);
    if (now === shown) return;
    shown = now;
    node.replaceChildren(...[draw(data)].flat());
  } };
};

// A text that ages by itself, between two answers and without them.
export const age = (ageMs, at, words) => {
  const node = make("span", "age");
  node.since = { ageMs, at, words };
  tell(node);
  return node;
};

const tell = (node) => {
  const { ageMs, at, words } = node.since;
  node.textContent = ageMs === null ? words.never : seconds(ageMs + performance.now() - at);
};

export const refreshAges = () => document.querySelectorAll(".age").forEach(tell);

export const seconds = (ms) => {
  if (ms < 60_000) return (Math.max(0, ms) / 1000).toFixed(1) + " s";
  if (ms < 3_600_000) return Math.floor(ms / 60_000) + " min " + Math.floor((ms % 60_000) / 1000) + " s";
  return Math.floor(ms / 3_600_000) + " h " + Math.floor((ms % 3_600_000) / 60_000) + " min";
};

export const clock = (stamp) => {
  const at = stamp ? new Date(stamp) : null;
  if (!at || Number.isNaN(at.getTime())) return "–";
  const two = (value, width = 2) => String(value).padStart(width, "0");
  return two(at.getHours()) + ":" + two(at.getMinutes()) + ":" + two(at.getSeconds()) + "." + two(at.getMilliseconds(), 3);
};

export const day = (stamp) => {
  const at = stamp ? new Date(stamp) : null;
  if (!at || Number.isNaN(at.getTime())) return stamp ? String(stamp) : "–";
  const date = [at.getFullYear(), at.getMonth() + 1, at.getDate()].map((value) => String(value).padStart(2, "0"));
  return date.join("-") + " " + clock(stamp).slice(0, 8);
};
