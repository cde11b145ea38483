// What all parts of the page do with the document.

export const $ = (id) => document.getElementById(id);

export const MARK = { buy: "▲", sell: "▼" };

/** Change a text, if it is another one: the browser then draws, and reads out, only what changed. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function row(...labels) {
  const line = document.createElement("tr");
  for (const label of labels) line.insertCell().dataset.label = label;
  return line;
}

/** Make `body` have a row for each of `items`; rows that are there are used again. */
export function fill(body, items, make, show) {
  if (body.firstElementChild?.className === "none") body.replaceChildren();
  while (body.rows.length > items.length) body.lastElementChild.remove();
  while (body.rows.length < items.length) body.append(make());
  items.forEach((item, at) => show(body.rows[at], item));
}

/** A row that says why there is no other. */
export function none(body, text) {
  if (body.rows.length === 1 && body.textContent === text) return;
  const line = row("");
  line.className = "none";
  line.cells[0].colSpan = 9;
  line.cells[0].textContent = text;
  body.replaceChildren(line);
}

const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat([], { month: "short", day: "numeric" });

/** The time of day, with the day when it is not today. */
export function clock(ms) {
  const time = CLOCK.format(ms);
  return new Date(ms).toDateString() === new Date().toDateString() ? time : `${DAY.format(ms)}, ${time}`;
}

/** Ask in a dialog; becomes true when the answer is yes. */
export function ask(question, yes) {
  const dialog = $("question");
  if (dialog.open) return Promise.resolve(false);
  put($("question-text"), question);
  put($("question-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  $("question-no").focus();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}

/** What this browser remembers of the page; some remember nothing. */
export function remembered(storage, name) {
  try { return window[storage].getItem(name); } catch { return null; }
}

export function remember(storage, name, value) {
  try {
    if (value === null) window[storage].removeItem(name);
    else window[storage].setItem(name, value);
  } catch { /* it forgets */ }
}
