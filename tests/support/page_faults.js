// What a reader with a narrow screen, a keyboard, a screen reader or weak eyes would stumble over. Each rule gives lines.
const look = () => {
const faults = [];
const show = (one) => one.outerHTML.replace(/\s+/g, " ").slice(0, 160);
const all = (css) => [...document.querySelectorAll(css)];
const shown = (one) => one.getClientRects().length > 0 && getComputedStyle(one).visibility !== "hidden";
const check = (rule, wrong) => { for (const one of wrong) faults.push(`${rule}: ${typeof one === "string" ? one : show(one)}`); };

// The document (WCAG 2.2, 2.4.2, 3.1.1, 4.1.1).
if (document.documentElement.lang !== "en") faults.push("no language");
if (!document.title.includes("Kist Hub")) faults.push(`title: ${document.title}`);
const ids = all("[id]").map((one) => one.id);
check("twice the same id", ids.filter((id, at) => ids.indexOf(id) !== at));

// Headings: one h1, no level left out on the way down (1.3.1).
const levels = all("h1, h2, h3, h4, h5, h6").map((one) => [Number(one.tagName[1]), one]);
if (levels.filter(([level]) => level === 1).length !== 1) faults.push(`${levels.filter(([l]) => l === 1).length} h1`);
check("heading leaves out a level", levels.filter(([level], at) => at && level > levels[at - 1][0] + 1).map(([, one]) => one));
check("first heading is no h1", levels.slice(0, 1).filter(([level]) => level !== 1).map(([, one]) => one));

// Words for what is no text (1.1.1, 1.3.1, 4.1.2).
check("no label", all("input:not([type=hidden]), select, textarea").filter((one) => !one.labels.length && !one.ariaLabel));
check("no alt", all("img:not([alt])"));
check("svg that says nothing", all("svg").filter((one) => one.ariaHidden !== "true"
  && !(one.getAttribute("role") === "img" && (one.querySelector(":scope > title") || one.ariaLabel))));
check("no name", all("a, button, summary, th, nav, form[role], section[aria-labelledby]").filter((one) => {
  const by = one.getAttribute("aria-labelledby");
  return !(one.textContent.trim() || one.ariaLabel || one.querySelector("img[alt]:not([alt=''])"))
    || (by !== null && !document.getElementById(by));
}));
check("th without scope", all("th:not([scope])"));

// Nothing wider than the window but what scrolls by itself, which the keyboard must reach (1.4.10, 2.1.1).
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
if (wide > 0) {
  faults.push(`${wide} px too wide`);
  check("sticks out", all("body *").filter((one) => shown(one) && one.getBoundingClientRect().right > innerWidth + 1
    && !one.closest(".scroll, .hidden, pre, .line, .prose table")).slice(0, 3));
}
check("scrolls, but not by keyboard", all("body *").filter((one) => shown(one) && one.scrollWidth > one.clientWidth + 1
  && ["auto", "scroll"].includes(getComputedStyle(one).overflowX) && one.tabIndex < 0
  && !one.matches("input, textarea")));

// Contrast of text with what is behind it (1.4.3).
const parse = (color) => (color.match(/[\d.]+/g) || []).map((part, at) => Number(part) * (color.startsWith("color(") && at < 3 ? 255 : 1));
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const color = parse(getComputedStyle(at).backgroundColor);
    if (color.length === 3 || color[3] === 1) return color;
  }
  return [255, 255, 255];
};
const contrast = (one, color) => {
  const [a, b] = [light(parse(color)), light(behind(one))].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
};
const pale = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const one = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !shown(one) || one.closest(".hidden, script, svg, option")) continue;
  const found = contrast(one, getComputedStyle(one).color);
  if (found < 4.5) pale.add(`${found.toFixed(2)} ${show(one)}`);
}
for (const one of all("input[placeholder]")) {
  const found = contrast(one, getComputedStyle(one, "::placeholder").color);
  if (shown(one) && found < 4.5) pale.add(`${found.toFixed(2)} placeholder of ${show(one)}`);
}
check("too pale", [...pale].slice(0, 5));

// The edges of what one types into (1.4.11), and something to hit (2.5.8).
check("edge too pale", all("input:not([type=hidden]), select, textarea").filter((one) => shown(one)
  && contrast(one.parentElement, getComputedStyle(one).borderTopColor) < 3));
check("smaller than 24 px", all("button, select, input:not([type=hidden], [type=checkbox]), .button, .switch a, summary").filter((one) => {
  const { width, height } = one.getBoundingClientRect();
  return shown(one) && (width < 24 || height < 24);
}));

// The focus: everything that can be used gets it, in the order of the page, and it is seen (2.4.3, 2.4.7).
check("jumps the queue", all("[tabindex]").filter((one) => one.tabIndex > 0));
const had = document.activeElement;
for (const one of all("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]")) {
  if (!shown(one)) continue;
  one.focus({ focusVisible: true, preventScroll: true });
  const style = getComputedStyle(one);
  if (document.activeElement !== one || style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) {
    faults.push(`the focus is not seen: ${show(one)}`);
  } else if (contrast(one.parentElement || one, style.outlineColor) < 3) {
    faults.push(`the focus is too pale: ${show(one)}`);
  }
}
had.focus({ preventScroll: true });
if (had === document.body) document.activeElement.blur();
scrollTo(0, 0);
return faults;
};
return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(look()))));  // after a resize
