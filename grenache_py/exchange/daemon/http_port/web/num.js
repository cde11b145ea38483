// Exact decimals: whole numbers (BigInt) of units of 10^-places.

const PLAIN = /^\d+(\.\d+)?$/;
const CHARS_MAX = 40;

const isDecimal = (text) => text.length <= CHARS_MAX && PLAIN.test(text);
const placesOf = (text) => (text.split(".")[1] ?? "").length;

/** "1.25" in units of 4 places is 12500n; null when it is no plain decimal, or finer than that. */
export function parse(text, places) {
  if (!isDecimal(text)) return null;
  const [whole, part = ""] = text.split("."), digits = part.replace(/0+$/, "");
  return digits.length > places ? null : BigInt(whole + digits.padEnd(places, "0"));
}

/** With all its places, so that columns are read at a glance. */
export function format(units, places) {
  const digits = String(units < 0n ? -units : units).padStart(places + 1, "0"), point = digits.length - places;
  return `${units < 0n ? "-" : ""}${digits.slice(0, point)}${places ? `.${digits.slice(point)}` : ""}`;
}

/** The quotient of two that are not negative, rounded to the nearest. */
export const divide = (value, by) => (2n * value + by) / (2n * by);

/** What is wrong with `text` as a multiple of `step`, as a sentence; "" when nothing is. */
export function wrongStep(text, step) {
  if (!isDecimal(text)) return `${text.slice(0, CHARS_MAX)} is no number; write it like 12.5`;
  const own = placesOf(step), places = Math.max(own, placesOf(text));
  const units = parse(text, places), by = parse(step, places), below = units - (units % by);
  if (units === 0n) return "must be more than 0";
  if (units === below) return "";
  const near = [below, below + by].filter((each) => each).map((each) => format(each / 10n ** BigInt(places - own), own));
  return `${text} is not a multiple of ${step}; the nearest is ${near.join(" or ")}`;
}

/** A market as markets.list tells of it, with what is reckoned from that. */
export function marketOf({ market, tick, lot, protection_bp }) {
  const pricePlaces = placesOf(tick), quantityPlaces = placesOf(lot);
  return {
    symbol: market, tick, lot, pricePlaces, base: market.split(/[-/]/)[0], protection: BigInt(protection_bp),
    priceStep: parse(tick, pricePlaces), quantityStep: parse(lot, quantityPlaces),
    price: (text) => parse(text, pricePlaces), priceText: (units) => format(units, pricePlaces),
    quantity: (text) => parse(text, quantityPlaces), quantityText: (units) => format(units, quantityPlaces),
  };
}
