// Looks at the page in the frame and leaves what it saw in the outer document, as base64 of JSON.
"use strict";
const frame = document.getElementById("page");

function describe(element) {
  const text = element.textContent.trim().replace(/\s+/g, " ").slice(0, 60);
  return `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""} "${text}"`;
}

function stickingOut(page) {
  const width = page.documentElement.clientWidth;
  const found = [];
  if (page.documentElement.scrollWidth > width) found.push(`the page is ${page.documentElement.scrollWidth} wide, not ${width}`);
  for (const element of page.body.querySelectorAll("*")) {
    if (element.closest(".scroll > *, svg *, .skip, pre > *")) continue;
    const box = element.getBoundingClientRect();
    if (box.width > 0 && box.right > width + 1) found.push(describe(element));
  }
  return found.slice(0, 10);
}

function rgb(colour) {
  const parts = colour.match(/[\d.]+/g).map(Number);
  return { channels: parts.slice(0, 3), alpha: parts[3] ?? 1 };
}

function luminance(channels) {
  const [red, green, blue] = channels.map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function background(element, view) {
  for (let behind = element; behind; behind = behind.parentElement) {
    const colour = rgb(view.getComputedStyle(behind).backgroundColor);
    if (colour.alpha > 0) return colour.channels;
  }
  return [255, 255, 255];
}

// The contrast that WCAG 2.2 asks for: 4.5, and 3 for large letters.
function faint(page, view) {
  const found = new Set();
  for (const element of page.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest("svg, script, .skip") || element.getClientRects().length === 0) continue;
    const style = view.getComputedStyle(element);
    const [one, two] = [luminance(rgb(style.color).channels), luminance(background(element, view))];
    const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5)) found.add(`${contrast.toFixed(2)} ${describe(element)}`);
  }
  return [...found].slice(0, 10);
}

// Texts of one drawing that lie on each other.
function overlapping(page) {
  const found = [];
  for (const drawing of page.querySelectorAll(".topology svg")) {
    const texts = [...drawing.querySelectorAll("text")].map((text) => ({ text, box: text.getBoundingClientRect() }));
    texts.forEach((one, index) => {
      for (const other of texts.slice(index + 1)) {
        const wide = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
        const high = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
        // Boxes of letters have room above and below them.
        if (wide > 1 && high > 4) found.push(`${describe(one.text)} on ${describe(other.text)}`);
      }
    });
  }
  return found.slice(0, 10);
}

function skippedLevels(page) {
  const found = [];
  let before = 0;
  for (const heading of page.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    const level = Number(heading.tagName[1]);
    if (level > before + 1) found.push(`h${level} after h${before}: ${describe(heading)}`);
    before = level;
  }
  return found.slice(0, 10);
}

function brokenLinks(page) {
  const found = [];
  const ids = new Set();
  for (const element of page.querySelectorAll("[id]")) {
    if (ids.has(element.id)) found.push(`the id ${element.id} twice`);
    ids.add(element.id);
  }
  for (const link of page.querySelectorAll("a[href]")) {
    const target = link.getAttribute("href");
    if (!target.startsWith("#") || !ids.has(target.slice(1))) found.push(target);
  }
  return found.slice(0, 10);
}

frame.addEventListener("load", () => {
  const page = frame.contentDocument;
  const view = frame.contentWindow;
  const closed = stickingOut(page);
  if (location.hash === "#tall") frame.style.height = `${page.documentElement.scrollHeight}px`;
  const picture = location.hash === "#tall";
  if (!picture) for (const details of page.querySelectorAll("details")) details.open = true;
  const silent = [...page.querySelectorAll("svg")].filter((svg) =>
    svg.getAttribute("role") === "img" ? !svg.getAttribute("aria-label") : svg.getAttribute("aria-hidden") !== "true");
  const seen = {
    errors: view.seen,
    requests: view.performance.getEntriesByType("resource").map((entry) => entry.name),
    sticking_out: [...closed, ...stickingOut(page)],
    faint: faint(page, view),
    overlapping: overlapping(page),
    drawn: [...page.querySelectorAll("figure")].filter((figure) => figure.getClientRects().length > 0).map((figure) => figure.getAttribute("class") ?? ""),
    samples: [...page.querySelectorAll(".samples li")].map((entry) => entry.textContent),
    clients: [...page.querySelectorAll(".topology tbody td:first-child")].map((cell) => cell.textContent),
    silent: silent.map(describe),
    sections: [...page.querySelectorAll("h2")].map((heading) => heading.textContent.trim()),
    skipped_levels: skippedLevels(page),
    broken_links: brokenLinks(page),
    dark: luminance(rgb(view.getComputedStyle(page.body).backgroundColor).channels) < 0.2,
  };
  const result = document.createElement("pre");
  result.id = "seen";
  result.hidden = picture;
  result.textContent = btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(seen))));
  document.body.append(result);
});
