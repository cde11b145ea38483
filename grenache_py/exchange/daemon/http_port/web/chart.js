// Candles with volume, own fills as arrows and own orders as lines; and the depth of the book.
import { CandlestickSeries, HistogramSeries, createChart, createSeriesMarkers } from "/vendor/lightweight-charts-5.2.1.js";
import { grouped } from "./book.js";
import { $, made, page, put } from "./page.js";

const MS = { "1m": 60e3, "5m": 300e3, "15m": 900e3, "1h": 3600e3, "4h": 14400e3, "1d": 86400e3 };
const CANDLES = 300;
const LINES_MAX = 40;
const COLUMNS = 400n; // of the depth

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
/** The chart knows no time zones: it is given local time as if it were UTC. */
const OFFSET_S = new Date().getTimezoneOffset() * 60;
const local = (ms) => Math.floor(ms / 1000) - OFFSET_S;

const chart = createChart($("candles"), {
  autoSize: true,
  layout: { attributionLogo: false, fontFamily: "system-ui, sans-serif" },
  timeScale: { timeVisible: true, rightOffset: 4, barSpacing: 9 },
  handleScroll: { vertTouchDrag: false, mouseWheel: false }, handleScale: { mouseWheel: false },
});
const series = chart.addSeries(CandlestickSeries);
const volumes = chart.addSeries(HistogramSeries, {
  priceScaleId: "", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
});
volumes.priceScale().applyOptions({ scaleMargins: { top: 0.8, bottom: 0 } });
series.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.25 } });
const markers = createSeriesMarkers(series, []);

let interval = "1m";
let first, last; // when the oldest and the newest candle that are shown begin
let lines = new Map(); // of own orders, by side and price
let arrows = ""; // which are drawn

const startOf = (time) => time - (time % MS[interval]);

export function theme() {
  const [text, line, buy, sell] = ["dim", "line", "buy", "sell"].map(colour);
  chart.applyOptions({
    layout: { background: { type: "solid", color: colour("page") }, textColor: text },
    grid: { vertLines: { color: line }, horzLines: { color: line } },
    rightPriceScale: { borderColor: line }, timeScale: { borderColor: line },
  });
  // Rising is pale, falling is full: told apart without colour too.
  series.applyOptions({
    upColor: `${buy}22`, borderUpColor: buy, wickUpColor: buy,
    downColor: sell, borderDownColor: sell, wickDownColor: sell,
  });
  volumes.applyOptions({ color: `${colour("edge")}66` });
  for (const each of lines.values()) series.removePriceLine(each);
  lines.clear();
  arrows = "";
  page.changed();
}

/** Show the peer's candles: all of them, or the newest, which trades have moved. */
export async function start(limit = CANDLES) {
  const { market } = page, wanted = interval;
  for (const button of $("intervals").children) button.ariaPressed = button.value === interval;
  await page.ask("candles.list", { market: market.symbol, interval, limit }, ({ candles }) => {
    if (wanted !== interval) return;
    const bars = candles.map(({ time, open, high, low, close, volume }) => ({
      time: local(time), open: Number(open), high: Number(high), low: Number(low), close: Number(close),
      value: Number(volume),
    }));
    if (limit === CANDLES) {
      const precision = market.pricePlaces, minMove = Number(market.tick);
      series.applyOptions({ priceFormat: { type: "price", precision, minMove } });
      for (const each of [series, volumes]) each.setData(bars);
      chart.timeScale().scrollToPosition(4, false);
      first = Infinity;
      last = bars.at(-1)?.time ?? -Infinity;
      arrows = "";
    }
    for (const bar of bars.filter(({ time }) => time >= last)) {
      for (const each of [series, volumes]) each.update(bar);
      last = bar.time;
    }
    first = Math.min(first, candles[0]?.time ?? Infinity);
  });
}
export function draw(orders, fills) {
  const priced = orders.filter((order) => order.price).slice(0, LINES_MAX);
  const wanted = new Map(priced.map((order) => [`${order.side} ${order.price}`, order]));
  for (const [key, each] of lines) {
    if (wanted.has(key)) continue;
    series.removePriceLine(each);
    lines.delete(key);
  }
  for (const [key, { side, price }] of wanted) {
    if (lines.has(key)) continue;
    const look = { color: colour(side), lineWidth: 1, lineStyle: 1, title: side, axisLabelVisible: false };
    lines.set(key, series.createPriceLine({ price: Number(price), ...look }));
  }
  drawArrows(fills.filter((one) => one.time >= first));
}

/** One for each candle and side. */
function drawArrows(fills) {
  const now = `${fills.length} ${fills.at(-1)?.seq} ${interval}`;
  if (now === arrows) return;
  arrows = now;
  const each = new Map(fills.map(({ time, side }) => [`${startOf(time)} ${side}`, {
    time: local(startOf(time)), color: colour(side),
    ...(side === "buy" ? { position: "belowBar", shape: "arrowUp" } : { position: "aboveBar", shape: "arrowDown" }),
  }]));
  markers.setMarkers([...each.values()].sort((a, b) => a.time - b.time));
}

/** The depth of the book within some per cent of the middle, or all of it. */
export function drawDepth() {
  const { book, market } = page, within = $("within").value, middle2 = book?.middle2 ?? null;
  let low = 0n, high = 0n, further = 0, most = 0n;
  const paths = { buy: "", sell: "" }, shown = middle2 !== null;
  if (shown) {
    low = book.buy.at(-1)?.price ?? middle2 / 2n;
    high = book.sell.at(-1)?.price ?? middle2 / 2n;
    if (within !== "all") [low, high] = [-1n, 1n].map((sign) => (middle2 * (100n + sign * BigInt(within))) / 200n);
    for (const side in paths) {
      const levels = book[side].filter(({ price }) => (side === "buy" ? price >= low : price <= high));
      further += book[side].length - levels.length;
      let sum = 0n;
      for (const row of grouped(levels, side, (high - low) / COLUMNS + 1n, Infinity)) {
        paths[side] += `${sum ? "H" : "M"}${row.price - low}${sum ? "" : " 0"}V-${(sum = row.sum)}`;
      }
      if (sum) paths[side] += `H${side === "buy" ? 0 : high - low}V0Z`;
      if (sum > most) most = sum;
    }
  }
  const [lowest, highest] = shown ? [low, high].map(market.priceText) : ["", ""];
  const far = further ? `${further} ${further === 1 ? "level is" : "levels are"} further away` : "";
  put($("depth-low"), lowest);
  put($("depth-far"), shown || !book ? far : "No orders stand in this market.");
  put($("depth-high"), highest);
  $("depth").setAttribute("viewBox", `0 -${most} ${high - low} ${most}`);
  for (const side in paths) $(`depth-${side}`).setAttribute("d", paths[side]);
}

for (const name in MS) {
  const button = $("intervals").appendChild(made("button", { value: name, textContent: name }));
  button.onclick = () => {
    interval = button.value;
    start().catch(() => {});
  };
}
