// Elements, symbols and numbers: the alphabet of the page. Text always goes in as text, never as markup.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "onclick") node.addEventListener("click", value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(name, value);
  node.append(...children.flat());
  return node;
}

export const byId = (id) => document.getElementById(id);
export const cssColor = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// --- numbers: a real minus sign, thin spaces between thousands, an en dash for what is undefined ---

export const NONE = "–";
const MINUS = "\u2212";
const THIN = "\u202f";

export function fixed(value, decimals) {
  if (value === null || value === undefined) return NONE;
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", MINUS);
}

export function significant(value, digits = 3) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    return `${mantissa}·10${[...String(Number(exponent))].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("")}`.replace("-", MINUS);
  }
  if (size >= 10 ** digits) return thousands(value);
  return String(Number(value.toPrecision(digits))).replace("-", MINUS);
}

export function thousands(value) {
  if (value === null || value === undefined) return NONE;
  const text = String(Math.round(Math.abs(value)));
  const grouped = text.length > 4 ? text.replace(/\B(?=(\d{3})+$)/g, THIN) : text;
  return (value < 0 ? MINUS : "") + grouped;
}

export const massText = (gev) => (gev >= 100 ? gev.toFixed(0) : gev.toFixed(1));
export const percent = (fraction) => (fraction >= 0.995 ? "100" : fraction < 0.01 ? "< 1" : (100 * fraction).toFixed(0)) + "\u202f%";
export const plural = (count, one, many = `${one}s`) => `${thousands(count)} ${count === 1 ? one : many}`;

export function ago(iso) {
  if (!iso) return NONE;
  const seconds = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  if (seconds < 60) return "just now";
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(iso).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

// --- symbols ---

const GREEK = { nu: "ν", mu: "μ", tau: "τ", gamma: "γ" };
const greek = (text) => text.split("_").map((part) => GREEK[part] ?? part).join("");

// "X_nu_e" → {base: "X", sub: "νe", sup: ""}; names of the Standard Model come as they are printed
export function parseName(name) {
  const match = /^X_([a-zA-Z_]+?)(?:\^(\d))?$/.exec(name);
  if (match) return { base: "X", sub: greek(match[1]), sup: match[2] ?? "" };
  const neutrino = /^(ν\u0304?)(e|μ|τ)$/.exec(name);
  return neutrino ? { base: neutrino[1], sub: neutrino[2], sup: "" } : { base: name, sub: "", sup: "" };
}

export const spoken = (name) => name.replace(/[_^]/g, " ");

export function symbol(name) {
  const { base, sub, sup } = parseName(name);
  const node = el("span", { class: "p" });
  node.append(el("span", { class: "visually-hidden" }, spoken(name)));
  const shown = el("span", { "aria-hidden": "true" }, base);
  if (sub && sup) shown.append(el("span", { class: "ss" }, el("span", {}, sup), el("span", {}, sub)));
  else if (sub) shown.append(el("sub", {}, sub));
  node.append(shown);
  return node;
}

export function symbols(names, separator = ", ") {
  return names.flatMap((name, index) => (index ? [separator, symbol(name)] : [symbol(name)]));
}

const measure = document.createElement("canvas").getContext("2d");
function width(text, px) {
  measure.font = `italic ${px}px ${cssColor("--math") || "serif"}`;
  return measure.measureText(text).width;
}

// The same symbol as SVG text starting at (x, y); sub- and superscript stand above each other.
export function svgSymbol(name, x, y, size = 15) {
  const { base, sub, sup } = parseName(name);
  const small = size * 0.7;
  const group = svg("g", { "aria-hidden": "true" });
  const text = (content, dx, dy, cls, px) => svg("text", { x: x + dx, y: y + dy, class: cls, style: `font-size:${px}px` }, content);
  const base_width = width(base, size);
  group.append(text(base, 0, 0, "sym", size));
  if (sup) group.append(text(sup, base_width + 1.2, -size * 0.36, "script", small));
  if (sub) group.append(text(sub, base_width - 0.4, size * 0.24, "script", small));
  const tail = Math.max(sup ? width(sup, small) + 1.2 : 0, sub ? width(sub, small) - 0.4 : 0);
  return { node: group, width: base_width + tail };
}

export const KINDS = {
  lbp: "lightest", neutral: "neutral", charged: "charged", gluon: "gluon-like", light: "light quark-like",
  bottom: "b-like", top: "t-like", lepton: "lepton-like", neutrino: "neutrino-like",
};
export const kindColor = (kind) => `var(--k-${kind})`;
