// What is wrong with the layout of the page that is open: one line a fault. Runs in the browser.
const faults = [];
const root = document.documentElement;
const tell = (what, text) => faults.push(what + ": " + String(text).trim().slice(0, 80));
const skipped = ".visually-hidden, .skip, script, style, .map, .sign, select, option";
const scrolls = (style) => ["auto", "scroll"].includes(style.overflowX) || ["auto", "scroll"].includes(style.overflowY);

if (root.scrollWidth > root.clientWidth + 1) tell("wider than the page", root.scrollWidth + " of " + root.clientWidth);
if (/\d+%\|/.test(document.body.innerText)) tell("frozen bar", document.body.innerText.match(/.*\d+%\|.*/)[0]);
document.querySelectorAll("table").forEach((table) => {
  const cells = [...table.tBodies].flatMap((body) => [...body.rows]).flatMap((row) => [...row.cells]);
  if (!cells.some((cell) => cell.textContent.trim() || cell.querySelector("[role=img]"))) tell("empty table", table.textContent);
});
document.querySelectorAll("h2, h3").forEach((heading) => {
  if (!heading.textContent.trim()) tell("empty heading", heading.outerHTML);
});

// Every line of text with its place, and the boxes that may cut it.
const lines = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const parent = node.parentElement;
  if (!node.data.trim() || parent.closest(skipped)) continue;
  const inDrawing = parent.closest("svg");
  const turned = inDrawing && parent.closest("[transform*=rotate]");
  const turn = turned ? Number((turned.getAttribute("transform").match(/rotate\((-?[\d.]+)/) || [0, 0])[1]) % 90 : 0;
  const range = document.createRange();
  range.selectNodeContents(node);
  const rects = inDrawing ? [parent.getBoundingClientRect()] : [...range.getClientRects()];
  let scroller = null, cutter = null;
  for (let up = parent; up && up !== document.body; up = up.parentElement) {
    const style = getComputedStyle(up);
    if (!scroller && scrolls(style)) scroller = up;
    if (!cutter && !scroller && (style.overflowX === "hidden" || style.overflowX === "clip") && up.tagName !== "svg") cutter = up;
  }
  rects.filter((rect) => rect.width > 1 && rect.height > 1).forEach((rect) => {
    const line = { rect, text: node.data, scroller, inDrawing, slanted: Math.abs(turn) > 1 };
    lines.push(line);
    const right = rect.right + scrollX;
    if (!scroller && (right > root.clientWidth + 1 || rect.left + scrollX < -1)) tell("beyond the page", node.data);
    if (cutter) {
      const box = cutter.getBoundingClientRect();
      if (rect.right > box.right + 1 || rect.left < box.left - 1 || rect.bottom > box.bottom + 2) tell("cut", node.data);
    }
    if (inDrawing && !line.slanted) {
      const box = inDrawing.getBoundingClientRect();
      if (rect.right > box.right + 2 || rect.left < box.left - 2 || rect.bottom > box.bottom + 2 || rect.top < box.top - 2) tell("cut by its figure", node.data);
    }
  });
}

// Lines that lie on each other; a box that scrolls hides what lies outside of it, its head stands still.
const sticky = (line) => line.scroller && line.scroller.classList.contains("tall");
const compared = lines.filter((line) => !line.slanted && !sticky(line)).sort((a, b) => a.rect.top - b.rect.top);
compared.forEach((a, index) => {
  for (let other = index + 1; other < compared.length && compared[other].rect.top < a.rect.bottom; other++) {
    const b = compared[other];
    if (a.scroller !== b.scroller) continue;
    const width = Math.min(a.rect.right, b.rect.right) - Math.max(a.rect.left, b.rect.left);
    const height = Math.min(a.rect.bottom, b.rect.bottom) - Math.max(a.rect.top, b.rect.top);
    const low = Math.min(a.rect.height, b.rect.height);
    if (width > 2 && height > 0.45 * low) tell("overlap", a.text.trim().slice(0, 35) + " | " + b.text.trim().slice(0, 35));
  }
});
return [...new Set(faults)];
