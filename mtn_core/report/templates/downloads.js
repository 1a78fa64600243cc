(() => {
  // Each table as CSV and each drawing as SVG, made here: nothing is asked of a network.
  const save = (name, type, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const fileName = (words) => words.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "table";
  const quote = (text) => (/[",\n;]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text);
  const wordsOf = (cell) => {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll(".small-line").forEach((line) => line.remove());
    const named = [...copy.querySelectorAll("[role=img]")].map((one) => one.getAttribute("aria-label"));
    return copy.textContent.trim() || named.join("; ");
  };

  // A number is written as the page sorts it: a fraction, not a rounded percentage.
  const toCsv = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
    const wide = heads.map((_, k) => rows.some((row) => row.cells[k] && row.cells[k].querySelector(".small-line")));
    const line = (cells) => cells.map(quote).join(",");
    const titles = heads.flatMap((head, k) => {
      const title = head.textContent.trim();
      return wide[k] ? [title, title + ", note"] : [title];
    });
    const values = rows.map((row) => [...row.cells].flatMap((cell, k) => {
      const value = cell.dataset.value !== undefined && heads[k].classList.contains("number") && cell.dataset.value !== ""
        ? cell.dataset.value : wordsOf(cell);
      const note = cell.querySelector(".small-line");
      return wide[k] ? [value, note ? note.textContent.trim() : ""] : [value];
    }));
    return "\ufeff" + [titles, ...values].map(line).join("\r\n") + "\r\n";
  };

  const toSvg = (drawing) => {
    const copy = drawing.cloneNode(true);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("xmlns:xlink", "http://www.w3.org/1999/xlink");
    copy.setAttribute("font-family", "DejaVu Sans, Verdana, sans-serif");
    const text = new XMLSerializer().serializeToString(copy);
    return text.replaceAll("currentColor", "#1b1f24").replace(/var\(--[\w-]+, (#[0-9a-fA-F]+)\)/g, "$1");
  };

  const addTool = (place, label, action, about) => {
    const tools = document.createElement("div");
    tools.className = "tools no-print";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "tool";
    button.textContent = label;
    button.setAttribute("aria-label", label + ": " + about);
    button.addEventListener("click", action);
    tools.append(button);
    place.after(tools);
  };
  document.querySelectorAll("main table").forEach((table) => {
    if (!table.tHead || !table.tBodies.length) return;
    const name = table.caption ? table.caption.textContent.trim() : document.title;
    addTool(table.closest(".scroll") || table, "CSV", () => save(fileName(name) + ".csv", "text/csv", toCsv(table)), name);
  });
  document.querySelectorAll("main figure svg").forEach((drawing) => {
    const figure = drawing.closest("figure");
    const about = drawing.getAttribute("aria-label") || "figure";
    const name = fileName(figure.dataset.name || "figure") + ".svg";
    addTool(drawing, "SVG", () => save(name, "image/svg+xml", toSvg(drawing)), about);
  });
})();
