// A market's book, and what can be read off it. Pure: no page, no clock, no connection.
import { divide } from "./num.js";

const CHECKED_LEVELS = 25;

const CRC = new Uint32Array(256).map((_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

/** CRC-32 of a text in ASCII. */
export function crc32(text) {
  let crc = ~0;
  for (let at = 0; at < text.length; at++) crc = CRC[(crc ^ text.charCodeAt(at)) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

export class Book {
  /** buy, sell: levels {price, quantity, orders, told}, best first; prices and quantities in units. */
  constructor(market) {
    this.market = market;
    this.seq = null;
    this.buy = [];
    this.sell = [];
  }

  /** Begin anew with a snapshot; false when it is not what its checksum says. */
  start({ seq, bids, asks, checksum }) {
    this.seq = seq;
    this.buy = [];
    this.sell = [];
    for (const level of bids) this.#change("buy", ...level);
    for (const level of asks) this.#change("sell", ...level);
    return this.#holds(checksum);
  }

  /** Take in a book.update; false when it does not fit, and the book must begin anew. */
  apply({ seq, prev_seq, changes, checksum }) {
    if (prev_seq !== this.seq) return false;
    this.seq = seq;
    for (const change of changes) this.#change(...change);
    return this.#holds(checksum);
  }

  #change(side, priceText, quantityText, orders) {
    const levels = this[side], price = this.market.price(priceText);
    const quantity = this.market.quantity(quantityText);
    let low = 0, high = levels.length;
    while (low < high) {
      const middle = (low + high) >> 1, there = levels[middle].price;
      if (side === "buy" ? there > price : there < price) low = middle + 1;
      else high = middle;
    }
    const found = levels[low]?.price === price ? 1 : 0;
    if (quantity === 0n) levels.splice(low, found);
    else levels.splice(low, found, { price, quantity, orders, told: `${priceText}:${quantityText}` });
  }

  #holds(checksum) {
    if (checksum === null) return true; // the rest of this update is yet to come
    const told = (levels) => levels.slice(0, CHECKED_LEVELS).map((level) => level.told).join();
    return checksum === crc32(`${told(this.buy)}|${told(this.sell)}`);
  }

  get bid() { return this.buy[0]?.price ?? null; }
  get ask() { return this.sell[0]?.price ?? null; }

  /** Twice the middle of the market, which is exact; null when nothing stands. */
  get middle2() {
    if (this.bid === null) return this.ask === null ? null : 2n * this.ask;
    return this.bid + (this.ask ?? this.bid);
  }
}

/** What an order would trade now: it takes `levels` as long as `reaches(price)`. */
export function sweep(levels, quantity, reaches) {
  let left = quantity, value = 0n, worst = null;
  for (const level of levels) {
    if (left === 0n || !reaches(level.price)) break;
    const taken = level.quantity < left ? level.quantity : left;
    left -= taken;
    value += taken * level.price;
    worst = level.price;
  }
  const filled = quantity - left;
  return { filled, left, worst, average: filled ? divide(value, filled) : null };
}

/** How far a market order goes from the best price of the side that it meets. */
export function protectedPrice(market, side, best) {
  const ticks = best / market.tickUnits, margin = (ticks * market.protection) / 10000n;
  return (side === "buy" ? ticks + margin : ticks - margin) * market.tickUnits;
}

/** A price's group of `step` units: no better than the price itself. */
export function groupOf(side, price, step) {
  const rest = price % step;
  return side === "buy" || rest === 0n ? price - rest : price - rest + step;
}

/** The best `count` groups of `step` units: {price, quantity, sum}. */
export function grouped(levels, side, step, count) {
  const rows = [];
  let sum = 0n;
  for (const level of levels) {
    const price = groupOf(side, level.price, step);
    if (rows.at(-1)?.price !== price) {
      if (rows.length === count) break;
      rows.push({ price, quantity: 0n, sum: 0n });
    }
    const row = rows.at(-1);
    row.quantity += level.quantity;
    row.sum = sum += level.quantity;
  }
  return rows;
}

/** Sums from the best price outwards, as far as `inside(price)`, and how many levels are further away. */
export function depth(levels, inside) {
  const points = [];
  let sum = 0n;
  for (const level of levels) {
    if (!inside(level.price)) break;
    points.push([level.price, (sum += level.quantity)]);
  }
  return { points, further: levels.length - points.length };
}
