// The order form: what each button would do, and that a press is one order whatever happens to the line.
import { protectedPrice, sweep } from "./book.js";
import { $, MARK, ask, clock, put, remember, remembered } from "./dom.js";
import { LineLost } from "./net.js";
import { short, wrongStep } from "./num.js";

const UNKNOWN_ORDER = -32001;
const NOT_NOW = new Set([-32010, -32011]);
const ASK_AGAIN_MS = 2000;
const ASKED_TIMES_MAX = 5;
const PAGES_SEARCHED_MAX = 20;
const CLOCKS_DIFFER_MS = 60000;
const FIELDS = ["stop", "price", "quantity", "until"];
/** Which fields a type of order has. */
const SHOWN = {
  limit: ["price", "force", "post"], market: [],
  stop: ["stop"], stop_limit: ["stop", "price", "force"],
};
const VERB = { buy: "Buy", sell: "Sell" };
const OTHER = { buy: "sell", sell: "buy" };
const STATUS = {
  new: "Stands", partially_filled: "Partly filled", filled: "Filled", cancelled: "Cancelled",
  rejected: "Rejected", expired: "Expired", pending_cancel: "Being cancelled",
};

/** An order and where it is, for people. */
export function sentence(order, base) {
  const price = order.price ? ` @ ${order.price}` : order.stop_price ? ` at ${order.stop_price}` : " at market";
  const parts = [`${STATUS[order.status] || order.status}: ${order.side} ${order.quantity} ${base}${price}`];
  if (order.filled !== "0") {
    const much = order.filled === order.quantity ? "all" : order.filled;
    parts.push(`${much} filled at ${order.average_price}${order.trades.length > 1 ? " on average" : ""}`);
  } else if (order.status !== "new") parts.push("nothing filled");
  if (order.in_doubt !== "0") parts.push(`${order.in_doubt} under way to another peer`);
  return `${parts.join("; ")}.`;
}

export class Form {
  /** page: what app.js knows: line, market, book, last, sendable, account, changed(). */
  constructor(page) {
    this.page = page;
    this.press = JSON.parse(remembered("sessionStorage", "press") || "null"); // sent, and not answered yet
    this.wrong = {}; // what the last press found missing
    this.followed = null; // the order that the line below the form is about
    const form = $("order-form");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      this.wrong = {};
      this.show();
    });
    for (const side of ["buy", "sell"]) {
      const button = $(side);
      // The second click of a double click, and a key that is held down, are no second order.
      button.addEventListener("click", (event) => { if (event.detail < 2) this.pressed(side); });
      button.addEventListener("keydown", (event) => { if (event.repeat) event.preventDefault(); });
    }
    for (const name of ["stop", "price", "quantity"]) {
      $(name).addEventListener("keydown", (event) => {
        if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
        event.preventDefault();
        this.step(name, (event.shiftKey ? 10n : 1n) * (event.key === "ArrowUp" ? 1n : -1n));
      });
    }
    $("type").addEventListener("change", () => this.empty(FIELDS.slice(0, 1)));
    this.show();
  }

  has(name) { return name === "quantity" || SHOWN[$("type").value].includes(name); }

  /** One tick or lot more or less. */
  step(name, steps) {
    const { market, book } = this.page;
    if (!market) return;
    const lots = name === "quantity", by = lots ? market.lotUnits : market.tickUnits;
    const typed = lots ? market.quantity($(name).value) : market.price($(name).value);
    const from = typed ?? (lots ? 0n : (book?.bid ?? book?.ask ?? this.page.last ?? 0n));
    let units = from - (from % by) + by * steps;
    if (units < by) units = by;
    $(name).value = lots ? market.quantityText(units) : market.priceText(units);
    this.show();
  }

  /** Fill fields in; a type that has no price becomes a limit order. */
  take(price, quantity) {
    this.wrong = {};
    if (!this.has("price")) $("type").value = "limit";
    $("price").value = price;
    if (quantity) $("quantity").value = quantity;
    this.show();
  }

  empty(names = FIELDS) {
    this.wrong = {};
    for (const name of names) $(name).value = "";
    this.show();
  }

  /** The order that the fields say, and what is wrong with them by name; `whole`: an empty field is wrong too. */
  read(side, whole) {
    const { market } = this.page, wrong = {};
    const type = $("type").value, force = this.has("force") ? $("force").value : null;
    const order = { market: market.symbol, side, type, account: this.page.account };
    const field = (name, member, step) => {
      const text = $(name).value.trim();
      if (!text) {
        if (whole) wrong[name] = `${name === "stop" ? "stop price" : name} is missing`;
        return;
      }
      const fault = wrongStep(text, step);
      if (fault) wrong[name] = fault;
      else order[member] = short(text);
    };
    if (this.has("stop")) field("stop", "stop_price", market.tick);
    if (this.has("price")) field("price", "price", market.tick);
    field("quantity", "quantity", market.lot);
    if (force) order.time_in_force = force;
    if (this.has("force") && force === "gtd") {
      const until = new Date($("until").value).getTime();
      if (until > Date.now()) order.expires = until;
      else if (whole || $("until").value) wrong.until = "a time that is still to come is missing";
    }
    if (this.has("post") && $("post").checked) order.post_only = true;
    return { order, wrong };
  }

  /** What an order would do as the book stands, as a sentence. */
  effect(order) {
    const { market, book, last } = this.page, { side } = order;
    if (!order.quantity || !book) return "";
    const stop = order.stop_price && market.price(order.stop_price);
    if (order.type.startsWith("stop") && !stop) return "";
    if (stop && !(last !== null && (side === "buy" ? last >= stop : last <= stop))) {
      const then = order.type === "stop" ? "at market" : order.price ? `at ${order.price} or better` : "";
      return `Waits for a trade at ${order.stop_price} or ${side === "buy" ? "above" : "below"}, then ${side}s ${then}.`;
    }
    const levels = book[OTHER[side]], atMarket = order.type === "market" || order.type === "stop";
    if (!atMarket && !order.price) return "";
    if (atMarket && !levels.length) return "Nobody is there to trade with.";
    const limit = atMarket ? protectedPrice(market, side, levels[0].price) : market.price(order.price);
    const quantity = market.quantity(order.quantity);
    const would = sweep(levels, quantity, (price) => (side === "buy" ? price <= limit : price >= limit));
    const force = order.time_in_force;
    const left = market.quantityText(would.left);
    if (order.post_only && would.filled) return "Would be refused: a part trades at once.";
    if (force === "fok" && would.left) return `Would be refused: only ${market.quantityText(would.filled)} is there.`;
    const parts = [];
    if (would.filled) {
      const [average, worst] = [would.average, would.worst].map(market.priceText);
      const range = average === worst && !atMarket ? `at ${worst}` : `${average} on average`;
      parts.push(`${market.quantityText(would.filled)} at once, ${range}${atMarket ? `, ${worst} at worst` : ""}`);
    }
    if (would.left) parts.push(atMarket || force === "ioc" ? `${left} is cancelled` : `${left} rests`);
    if (atMarket) parts.push(`no further than ${market.priceText(limit)}`);
    return `${parts.join("; ")}.`;
  }

  async pressed(side) {
    const { page } = this;
    if (this.press || !page.sendable) return;
    const { order, wrong } = this.read(side, true), [first] = Object.keys(wrong);
    this.wrong = wrong;
    this.show();
    if (first) return $(first).focus();
    const effect = this.effect(order);
    const label = `${MARK[side]} ${this.label(side, order)}`;
    if (order.type === "market" || (order.type === "stop" && !effect.startsWith("Waits"))) {
      if (!(await ask(`${label}: ${effect}`, VERB[side]))) return;
      if (this.press) return;
      if (!page.sendable) return this.answer("Nothing was sent: the line was lost meanwhile.");
    }
    const random = crypto.getRandomValues(new Uint8Array(12));
    order.client_order_id = `page-${[...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    this.followed = null;
    this.keep({ order, label, at: Date.now() + page.line.aheadMs, times: 0 });
    this.send();
  }

  keep(press) {
    this.press = press;
    remember("sessionStorage", "press", press && JSON.stringify(press));
    this.show();
  }

  async send() {
    const { press } = this;
    this.answer(press.times++ ? `Asking again: ${press.label} …` : "Sending …");
    try {
      this.done(press, await this.page.line.call("order.place", press.order));
    } catch (error) {
      this.failed(press, error);
    }
  }

  /** After a lost line: the same order again under the same id; one that acts at once is only asked about. */
  async resume() {
    const { press } = this;
    if (!press) return;
    const { type, time_in_force: force } = press.order;
    if (type !== "market" && force !== "ioc" && force !== "fok") return this.send();
    this.answer(`Asking what became of: ${press.label} …`);
    try {
      let report = await this.find(press);
      if (!report) {
        await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
        report = await this.find(press);
      }
      if (report) return this.done(press, report);
      this.keep(null);
      this.answer(`It did not happen: ${press.label}. The line was lost before the peer had it.`);
    } catch (error) {
      this.failed(press, error);
    }
  }

  /** The report of the order that was sent, also when it is closed; undefined when there is none. */
  async find({ order, at }) {
    const { line } = this.page, { client_order_id, account, market } = order;
    try {
      return await line.call("order.get", { client_order_id, account });
    } catch (error) {
      if (error.code !== UNKNOWN_ORDER) throw error;
    }
    for (let page = 0, after; page < PAGES_SEARCHED_MAX; page++) {
      const { orders, next } = await line.call("order.list", { market, account, status: "all", after });
      const found = orders.find((each) => each.client_order_id === client_order_id);
      if (found || !next || orders.at(-1).time < at - CLOCKS_DIFFER_MS) return found;
      after = next;
    }
  }

  failed(press, error) {
    if (press !== this.press) return;
    if (error instanceof LineLost) {
      const sent = `${press.label}: sent at ${clock(press.at)}, not answered yet.`;
      this.answer(`${sent} It is asked about when the peer is back.`);
    } else if (NOT_NOW.has(error.code) && error.data.outcome !== "none" && press.times < ASKED_TIMES_MAX) {
      press.times++;
      setTimeout(() => { if (press === this.press && this.page.sendable) this.resume(); }, ASK_AGAIN_MS);
      this.answer(`${error.message} Asking again …`);
    } else {
      this.keep(null);
      const unknown = NOT_NOW.has(error.code) && error.data.outcome !== "none";
      this.answer(`${press.label}: ${unknown ? "it is not known whether it happened. " : "refused: "}${error.message}`);
    }
  }

  done(press, report) {
    if (press !== this.press) return;
    this.keep(null);
    this.followed = report.order_id;
    this.follow(report);
  }

  /** Where an order is now; shown if it is the one that was sent last. */
  follow(report) {
    if (report.order_id !== this.followed) return;
    this.answer(sentence(report, this.page.market.base));
  }

  answer(text) { put($("answer"), text); }

  label(side, { type, quantity = "…", price = "…", stop_price: stop = "…" }) {
    const at = { limit: `@ ${price}`, market: "at market", stop: `stop at ${stop}`, stop_limit: `stop ${stop} @ ${price}` };
    return `${VERB[side]} ${quantity} ${this.page.market.base} ${at[type]}`;
  }

  show() {
    for (const name of ["stop", "price", "force", "post"]) $(`${name}-field`).hidden = !this.has(name);
    $("until-field").hidden = !(this.has("force") && $("force").value === "gtd");
    if (!this.page.market) return;
    const faults = { ...this.wrong, ...this.read("buy", false).wrong };
    for (const name of FIELDS) {
      put($(`${name}-fault`), faults[name] || "");
      $(name).toggleAttribute("aria-invalid", name in faults);
    }
    const off = Boolean(this.press) || !this.page.sendable;
    for (const side of ["buy", "sell"]) {
      const { order } = this.read(side, false), sending = this.press?.order.side === side;
      put($(side), sending ? "Sending …" : `${MARK[side]} ${this.label(side, order)}`);
      put($(`${side}-note`), this.effect(order));
      $(side).setAttribute("aria-disabled", off);
    }
  }
}
