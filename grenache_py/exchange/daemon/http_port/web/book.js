// A market's book, and what can be read off it. Pure.
import { divide } from "./num.js";

export class Book {
  /** Levels {price, quantity}, best first, in units. */
  buy = [];
  sell = [];
  #market;
  #seq;

  /** Begin with the answer of book.subscribe. */
  constructor(market, { seq, bids, asks }) {
    this.#market = market;
    this.#seq = seq;
    for (const level of bids) this.#change("buy", ...level);
    for (const level of asks) this.#change("sell", ...level);
  }

  get bid() { return this.buy[0]?.price ?? null; }
  get ask() { return this.sell[0]?.price ?? null; }

  /** Twice the middle of the market, which is exact; null when nothing stands. */
  get middle2() {
    const bid = this.bid ?? this.ask;
    return bid === null ? null : bid + (this.ask ?? bid);
  }

  /** Take in a book.update; false when one before it is missing. */
  apply({ seq, prev_seq, changes }) {
    if (prev_seq !== this.#seq) return false;
    this.#seq = seq;
    for (const change of changes) this.#change(...change);
    return true;
  }

  #change(side, priceText, quantityText) {
    const levels = this[side], price = this.#market.price(priceText), quantity = this.#market.quantity(quantityText);
    let low = 0, high = levels.length;
    while (low < high) {
      const middle = (low + high) >> 1, there = levels[middle].price;
      if (side === "buy" ? there > price : there < price) low = middle + 1;
      else high = middle;
    }
    const found = levels[low]?.price === price ? 1 : 0;
    levels.splice(low, found, ...(quantity ? [{ price, quantity }] : []));
  }
}

/** What an order would trade now: it takes `levels` as long as `reaches(price)`. */
export function sweep(levels, quantity, reaches) {
  let left = quantity, value = 0n, worst = null;
  for (const level of levels) {
    if (!left || !reaches(level.price)) break;
    const taken = level.quantity < left ? level.quantity : left;
    left -= taken;
    value += taken * level.price;
    worst = level.price;
  }
  const filled = quantity - left;
  return { filled, left, worst, average: filled ? divide(value, filled) : null };
}

/** How far a market order goes from the best price that it meets. */
export function protectedPrice(market, side, best) {
  const ticks = best / market.priceStep, margin = (ticks * market.protection) / 10000n;
  return (side === "buy" ? ticks + margin : ticks - margin) * market.priceStep;
}

/** A price's group of `step` units: no better than the price itself. */
export function groupOf(side, price, step) {
  const rest = price % step;
  return side === "buy" || !rest ? price - rest : price - rest + step;
}

/** The best `count` groups of `step` units: {price, quantity, sum}. */
export function grouped(levels, side, step, count) {
  const rows = [];
  let sum = 0n;
  for (const level of levels) {
    const price = groupOf(side, level.price, step);
    if (rows.at(-1)?.price !== price) {
      if (rows.length === count) break;
      rows.push({ price, quantity: 0n });
    }
    rows.at(-1).quantity += level.quantity;
    rows.at(-1).sum = sum += level.quantity;
  }
  return rows;
}
