// The order form: a press is one order, whatever happens to the line.
import { protectedPrice, sweep } from "./book.js";
import { LineLost } from "./net.js";
import { wrongStep } from "./num.js";
import { $, MARK, clock, confirmed, page, put, remember, remembered } from "./page.js";

const NOT_NOW = [-32005, -32010, -32011];
const ASK_AGAIN_MS = 2000;
const IMMEDIATE_MS = 5000; // an order that trades at once is not for the market of later
const FIELDS = ["stop", "price", "quantity", "until"];
/** Which fields a type of order has. */
const SHOWN = {
  limit: ["price", "force", "post"], market: [],
  stop: ["stop"], stop_limit: ["stop", "price", "force"],
};
const STATUS = { new: "stands", partially_filled: "partly filled", pending_cancel: "being cancelled" };
const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** What was sent and is not answered yet, also when the page is loaded again. */
export let press = JSON.parse(remembered("press", "sessionStorage"));
let wrong = {}; // what the last press found missing, by field
let followed = null; // the order that the line below the form is about

const has = (name) => SHOWN[$("type").value].includes(name);

/** Fill fields in; a type that has no price becomes a limit order. */
export function take(price, quantity) {
  if (!has("price")) $("type").value = "limit";
  $("price").value = price;
  if (quantity) $("quantity").value = quantity;
  changed();
}

export function empty() {
  for (const name of FIELDS) $(name).value = "";
  changed();
}

function changed() {
  wrong = {};
  show();
}

/** One tick or lot more or less. */
function step(name, steps) {
  const { market, book, last } = page;
  if (!market) return;
  const kind = name === "quantity" ? name : "price", by = market[`${kind}Step`];
  const near = kind === "price" && (book?.bid ?? book?.ask ?? last);
  const from = market[kind]($(name).value) ?? (near || 0n), units = from - (from % by) + by * steps;
  $(name).value = market[`${kind}Text`](units < by ? by : units);
  changed();
}

/** The order that the fields say, and what is wrong with them; `whole`: an empty field is wrong too. */
function read(side, whole) {
  const { market, account } = page, faults = {};
  const order = { market: market.symbol, side, type: $("type").value, account };
  const field = (name, member, unit) => {
    const text = $(name).value.trim(), fault = text ? wrongStep(text, unit) : whole && `${name} is missing`;
    if (fault) faults[name] = fault;
    else if (text) order[member] = text;
  };
  if (has("stop")) field("stop", "stop_price", market.tick);
  if (has("price")) field("price", "price", market.tick);
  field("quantity", "quantity", market.lot);
  if (has("force")) order.time_in_force = $("force").value;
  if (order.time_in_force === "gtd") {
    order.expires = new Date($("until").value).getTime();
    const fits = order.expires > Date.now();
    if (!fits && (whole || $("until").value)) faults.until = "a time that is still to come is missing";
  }
  if (has("post") && $("post").checked) order.post_only = true;
  return { order, faults };
}

/** What an order would do as the book stands, as a sentence. */
function effect(order) {
  const { market, book, last } = page, { side, type, time_in_force: force } = order, buys = side === "buy";
  const stop = order.stop_price && market.price(order.stop_price), atMarket = type === "market" || type === "stop";
  if (!order.quantity || !book || (type.startsWith("stop") && !stop)) return "";
  if (stop && (last === null || (buys ? last < stop : last > stop))) {
    const then = atMarket ? "at market" : order.price ? `at ${order.price} or better` : "";
    return `Waits for a trade at ${order.stop_price} or ${buys ? "above" : "below"}, then ${side}s ${then}.`;
  }
  const levels = book[buys ? "sell" : "buy"];
  if (!atMarket && !order.price) return "";
  if (atMarket && !levels.length) return "Nobody is there to trade with.";
  const limit = atMarket ? protectedPrice(market, side, levels[0].price) : market.price(order.price);
  const would = sweep(levels, market.quantity(order.quantity), (price) => (buys ? price <= limit : price >= limit));
  const [filled, left] = [would.filled, would.left].map(market.quantityText);
  if (order.post_only && would.filled) return "Would be refused: a part trades at once.";
  if (force === "fok" && would.left) return `Would be refused: only ${filled} is there.`;
  const parts = [];
  if (would.filled) {
    const [average, worst] = [would.average, would.worst].map(market.priceText);
    const range = average === worst && !atMarket ? `at ${worst}` : `${average} on average`;
    parts.push(`${filled} at once, ${range}${atMarket ? `, ${worst} at worst` : ""}`);
  }
  if (would.left) parts.push(atMarket || force === "ioc" ? `${left} is cancelled` : `${left} rests`);
  if (atMarket) parts.push(`no further than ${market.priceText(limit)}`);
  return `${parts.join("; ")}.`;
}

function label(side, { market, type, quantity = "…", price = "…", stop_price: stop = "…" }) {
  const at = { limit: `@ ${price}`, market: "at market", stop: `stop at ${stop}`, stop_limit: `stop ${stop} @ ${price}` };
  return `${MARK[side]} ${capital(side)} ${quantity} ${market.split(/[-/]/)[0]} ${at[type]}`;
}

async function pressed(side) {
  if (press || !page.sendable) return;
  const { order, faults } = read(side, true), [first] = Object.keys(faults);
  const now = effect(order), name = label(side, order);
  wrong = faults;
  show();
  if (first) return $(first).focus();
  if (order.type === "market" || (order.type === "stop" && !now.startsWith("Waits"))) {
    if (!(await confirmed(`${name}: ${now}`, capital(side))) || press) return;
    if (!page.sendable) return answer("Nothing was sent: the line was lost meanwhile.");
  }
  const random = crypto.getRandomValues(new Uint32Array(3)), at = Date.now();
  order.client_order_id = `page-${[...random].map((each) => each.toString(36)).join("-")}`;
  if (order.type === "market" || order.time_in_force === "ioc" || order.time_in_force === "fok") {
    Object.assign(order, { wait_ms: 1000, valid_until: at + page.line.aheadMs + IMMEDIATE_MS });
  }
  followed = null;
  keep({ order, name, at, times: 0 });
  resume();
}

function keep(next) {
  press = next;
  remember("press", JSON.stringify(press), "sessionStorage");
  show();
}

/** Send what was pressed; after a lost line again, under the same id: it is placed once or never. */
export async function resume() {
  const sent = press;
  if (!sent) return;
  answer(sent.times++ ? `Asking again: ${sent.name} …` : "Sending …");
  try {
    const report = await page.line.call("order.place", sent.order);
    if (sent !== press) return;
    keep(null);
    followed = report.order_id;
    follow(report);
  } catch (error) {
    if (sent === press) failed(sent, error);
  }
}

function failed(sent, error) {
  const { name, at, times } = sent;
  if (error instanceof LineLost) {
    answer(`${name}: sent at ${clock(at)}, not answered yet. It is asked about when the peer is back.`);
  } else if (NOT_NOW.includes(error.code) && (times > 1 || error.data?.outcome === "unknown")) {
    answer(`${error.message} Asking again …`);
    setTimeout(() => { if (sent === press && page.sendable) resume(); }, ASK_AGAIN_MS);
  } else {
    keep(null);
    answer(`It did not happen: ${name}. ${error.message}`);
  }
}

/** Where an order is now; shown if it is the one that was sent last. */
export function follow(order) {
  if (order.order_id !== followed) return;
  const parts = [`${capital(STATUS[order.status] ?? order.status)}: ${label(order.side, order)}`];
  if (order.filled !== "0") {
    const much = order.filled === order.quantity ? "all" : order.filled;
    parts.push(`${much} filled at ${order.average_price}${order.trades.length > 1 ? " on average" : ""}`);
  } else if (order.status !== "new") parts.push("nothing filled");
  if (order.in_doubt !== "0") parts.push(`${order.in_doubt} under way to another peer`);
  answer(`${parts.join("; ")}.`);
}

function answer(text) { put($("answer"), text); }

export function show() {
  for (const name of ["stop", "price", "force", "post"]) $(`${name}-field`).hidden = !has(name);
  $("until-field").hidden = !(has("force") && $("force").value === "gtd");
  if (!page.market) return;
  const faults = { ...wrong, ...read("buy").faults };
  for (const name of FIELDS) {
    put($(`${name}-fault`), faults[name] ?? "");
    $(name).toggleAttribute("aria-invalid", name in faults);
  }
  for (const side of ["buy", "sell"]) {
    const { order } = read(side);
    put($(side), press?.order.side === side ? "Sending …" : label(side, order));
    put($(`${side}-note`), effect(order));
    $(side).ariaDisabled = Boolean(press) || !page.sendable;
  }
}

const form = $("order-form");
form.onsubmit = (event) => event.preventDefault();
form.oninput = changed;
form.onkeydown = (event) => {
  const { target, key, repeat, shiftKey } = event, steps = { ArrowUp: 1n, ArrowDown: -1n }[key];
  // A key that is held down at a button is no second order.
  if (target.type === "button" ? !repeat : !steps || target.inputMode !== "decimal") return;
  event.preventDefault();
  if (target.type !== "button") step(target.id, shiftKey ? 10n * steps : steps);
};
for (const side of ["buy", "sell"]) {
  // Nor is the second click of a double click.
  $(side).onclick = (event) => { if (event.detail < 2) pressed(side); };
}
show();
