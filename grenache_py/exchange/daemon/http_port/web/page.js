// What all parts share: what is known of the peer, and what they do with the document.

export const page = {
  line: null, // see net.js
  market: null, book: null, last: null, // prices and quantities are whole numbers of the market's units
  account: "", trading: false, ready: false,
  changed() {}, // something is to be drawn
  /** Whether orders can be sent and cancelled now. */
  get sendable() { return this.trading && this.ready && this.line.state === "live" && !this.line.stale; },
  /** Ask, and hand the answer to `then` if the same market is still looked at. */
  async ask(method, params, then = () => {}) {
    const { market } = this, answer = await this.line.call(method, params);
    if (market !== this.market) return;
    await then(answer);
    this.changed();
  },
};

export const MARK = { buy: "▲", sell: "▼" };

export const $ = (id) => document.getElementById(id);

/** Change a text, if it is another one: only what changed is drawn and read out. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A "price" or a "quantity" as the peer told it, with all its places. */
export const padded = (kind, text) => page.market[`${kind}Text`](page.market[kind](text));

/** A new element with these properties. */
export const made = (tag, properties) => Object.assign(document.createElement(tag), properties);

/** Show `items`, a row each, with the texts of `show(item, row)`; or `none`, why there is no row. */
export function list(body, columns, items, show, none = "") {
  const empty = body.querySelector(".none");
  if (!items.length && empty?.textContent === none) return;
  if (!items.length || empty) body.replaceChildren();
  if (!items.length) Object.assign(body.insertRow().insertCell(), { className: "none", colSpan: 9, textContent: none });
  while (items.length && body.rows.length > items.length) body.deleteRow(-1);
  items.forEach((item, at) => {
    const row = body.rows[at] ?? body.insertRow();
    if (!row.cells.length) for (const name of columns) row.insertCell().dataset.label = name;
    show(item, row).forEach((text, column) => put(row.cells[column], text));
  });
}

/** The time of day here, with the day if it is not today. */
export function clock(ms) {
  const at = new Date(ms), day = at.toDateString(), time = at.toTimeString().slice(0, 8);
  return day === new Date().toDateString() ? time : `${day.slice(4, 10)}, ${time}`;
}

/** Ask in a dialog; becomes true when the answer is yes. */
export function confirmed(question, yes) {
  const dialog = $("question");
  put($("question-text"), question);
  put($("question-yes"), yes);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => { dialog.onclose = () => resolve(dialog.returnValue === "yes"); });
}

/** What this browser remembers of the page; some remember nothing. */
export function remembered(name, storage = "localStorage") {
  try { return window[storage].getItem(name); } catch { return null; }
}

export function remember(name, text, storage = "localStorage") {
  try { window[storage].setItem(name, text); } catch { /* it forgets */ }
}
