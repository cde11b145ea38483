// Own orders and fills: what is open, what was filled, what is closed, and cancelling.
import { follow } from "./form.js";
import { LineLost } from "./net.js";
import { $, MARK, clock, confirmed, list, made, padded, page, put } from "./page.js";

const FINAL = new Set(["filled", "cancelled", "rejected", "expired"]);
const ROWS_MAX = 100;
const KEPT_MAX = 500;
const CLOSED = ["Time", "Side", "Type", "Quantity", "Price", "Filled", "Average", "State"];
/** What can be shown: the columns, what is in them, and what is said when there is nothing. */
const VIEWS = {
  open: [[...CLOSED, ""], settled, openTexts, "You have no open orders here."],
  fills: [
    ["Time", "Side", "Quantity", "Price", "Role", "Order"], () => fills.toReversed(), fillTexts,
    "Nothing of yours has traded here.",
  ],
  history: [CLOSED, () => closed, orderTexts, "No order of yours is closed here."],
};

let open = new Map(); // by order id, oldest first
let closed = []; // newest first
export let fills = []; // oldest first
let seq = null; // of the newest execution that is known
let untold = []; // fills that were not read out yet
let shown = "open", drawn = null, rows = [];

/** Begin anew: the peer's open orders, and what it remembers of closed ones and fills. */
export async function start() {
  const { line, market, account } = page, of = { market: market.symbol, account, limit: KEPT_MAX }, known = seq;
  closed = [];
  fills = [];
  rows = [];
  seq = null;
  await Promise.all([
    page.ask("orders.subscribe", { account }, async ({ orders, complete }) => {
      open = new Map(orders.map((order) => [order.order_id, order]));
      let after = complete ? null : undefined;
      while (after !== null) { // those that did not fit the answer
        const rest = await line.call("order.list", { account, status: "open", after });
        for (const order of rest.orders) if (!open.has(order.order_id)) open.set(order.order_id, order);
        after = rest.next;
      }
    }),
    page.ask("executions.subscribe", { account }),
    page.ask("order.list", { ...of, status: "closed" }, ({ orders }) => {
      const ids = new Set(closed.map((order) => order.order_id));
      closed.push(...orders.filter((order) => !ids.has(order.order_id)));
    }),
    page.ask("executions.list", of, (answer) => {
      if (known !== null) untold.push(...answer.executions.filter((one) => one.seq > known)); // no line then
      fills = [...answer.executions, ...fills.filter((one) => one.seq > answer.seq)];
      seq = Math.max(seq, answer.seq);
    }),
  ]);
  for (const order of [...open.values(), ...closed]) follow(order);
}

/** An orders.update. */
export function update(order) {
  if (FINAL.has(order.status)) {
    open.delete(order.order_id);
    if (order.market === page.market?.symbol) closed = [order, ...closed].slice(0, KEPT_MAX);
  } else open.set(order.order_id, order);
  follow(order);
}

/** An executions.update. */
export function executed(one) {
  if (seq !== null && one.seq <= seq) return;
  seq = one.seq;
  if (one.market !== page.market?.symbol) return;
  fills = [...fills, one].slice(-KEPT_MAX);
  untold.push(one);
}

/** Open orders of this market, newest first. */
export function here() {
  const { symbol } = page.market;
  return [...open.values()].filter((order) => order.market === symbol).sort((a, b) => b.time - a.time);
}

/** The same; while one is pointed at they stay, so that no click lands on another. */
function settled() {
  const newest = ({ order_id: id }) => open.get(id) ?? closed.find((order) => order.order_id === id);
  const pointed = rows.length && $("mine-rows").matches(":hover, :has(:focus-visible)");
  rows = pointed ? rows.map((order) => newest(order) ?? order) : here();
  return rows;
}

export async function cancelAll() {
  if (!page.sendable) return;
  const { symbol } = page.market, count = here().length;
  if (!count) return say(`No order is open in ${symbol}.`);
  if (!(await confirmed(`Cancel all open orders in ${symbol} (${count})?`, "Cancel them"))) return;
  await end("order.cancel_all", { market: symbol });
}

async function end(method, params) {
  if (!page.sendable) return;
  try {
    const { cancelled } = await page.line.call(method, { ...params, account: page.account });
    say(cancelled === undefined ? "" : `Cancelled: ${cancelled}.`);
  } catch (error) {
    say(error instanceof LineLost ? "It may not have arrived: look again when the peer is back." : error.message);
  }
}

const say = (text) => put($("mine-answer"), text);

/** Tell new fills to who listens. */
function tell() {
  if (!untold.length) return;
  const { side, quantity, price } = untold.at(-1), more = untold.length - 1;
  const done = `${side === "buy" ? "Bought" : "Sold"} ${quantity} ${page.market.base} at ${price}`;
  put($("fill-told"), `${done}${more ? `, and ${more} more fills` : ""}.`);
  untold = [];
}

export function draw() {
  tell();
  put($("show-open"), `Open (${here().length})`);
  put($("show-fills"), `Fills (${fills.length})`);
  for (const name in VIEWS) $(`show-${name}`).ariaPressed = name === shown;
  const [columns, items, texts, none] = VIEWS[shown];
  if (drawn !== shown) {
    drawn = shown;
    $("mine-rows").replaceChildren();
    $("mine-head").replaceChildren(...columns.map((text) => made(text ? "th" : "td", { textContent: text })));
  }
  list($("mine-rows"), columns, items().slice(0, ROWS_MAX), texts, none);
}

/** What stands first in each row. */
function firstTexts(one, row) {
  row.cells[1].className = one.side;
  return [clock(one.time), `${MARK[one.side]} ${one.side}`];
}

function orderTexts(order, row) {
  return [
    ...firstTexts(order, row), `${order.type.replace("_", " ")} ${order.post_only ? "post" : order.time_in_force}`,
    padded("quantity", order.quantity),
    (order.price ? padded("price", order.price) : "market") + (order.stop_price ? ` stop ${order.stop_price}` : ""),
    padded("quantity", order.filled), order.average_price ?? "–",
    order.status.replace("_", " ") + (order.in_doubt === "0" ? "" : `, ${order.in_doubt} under way`),
  ];
}

function openTexts(order, row) {
  const cell = row.cells[CLOSED.length], button = cell.firstChild ?? cell.appendChild(made("button"));
  Object.assign(button, {
    value: order.order_id, ariaDisabled: FINAL.has(order.status) || !page.sendable,
    ariaLabel: `Cancel ${order.side} ${order.quantity} at ${order.price ?? "market"}`,
  });
  put(button, "Cancel");
  return orderTexts(order, row);
}

function fillTexts(one, row) {
  const { quantity, price, role, order_id } = one;
  return [...firstTexts(one, row), padded("quantity", quantity), padded("price", price), role, order_id.slice(0, 8)];
}

for (const name in VIEWS) {
  $(`show-${name}`).onclick = () => {
    shown = name;
    draw();
  };
}
$("cancel-all").onclick = cancelAll;
$("mine-rows").onclick = ({ target }) => {
  const { value: order_id } = target.closest("button") ?? {};
  if (order_id) end("order.cancel", { order_id });
};
