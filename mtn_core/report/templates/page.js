"use strict";
(() => {
  // Light and dark: the reader's system decides until the button is pressed.
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const isDark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const label = () => { button.textContent = isDark() ? "Light colours" : "Dark colours"; };
  if (button) {
    button.hidden = false;
    label();
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      page.remember("theme", root.dataset.theme);
      label();
    });
  }

  const cellValue = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value !== undefined ? cell.dataset.value : cell.textContent.trim();
  };
  const compare = (a, b) => {
    const x = Number(a), y = Number(b);
    if (a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    return a.localeCompare(b, undefined, { numeric: true });
  };

  const makeSortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (head.dataset.nosort !== undefined) return;
      const sorter = document.createElement("button");
      sorter.type = "button";
      sorter.textContent = head.textContent;
      head.textContent = "";
      head.append(sorter);
      head.setAttribute("aria-sort", "none");
      sorter.addEventListener("click", () => {
        const number = head.classList.contains("number");
        const before = head.getAttribute("aria-sort");
        // A first click on a number shows the largest; on a text, the alphabet.
        const down = before === "none" ? number : before === "ascending";
        heads.forEach((h) => { if (h.hasAttribute("aria-sort")) h.setAttribute("aria-sort", "none"); });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [cellValue(row, column), row]);
        rows.sort((p, q) => {
          if ((p[0] === "") !== (q[0] === "")) return p[0] === "" ? 1 : -1; // unknown stays last
          return down ? compare(q[0], p[0]) : compare(p[0], q[0]);
        });
        body.append(...rows.map((pair) => pair[1]));
      });
    });
  };

  const makeFilterable = (table) => {
    const rows = [...table.tBodies[0].rows];
    const heads = [...table.tHead.rows[0].cells];
    const bar = document.createElement("div");
    bar.className = "filters no-print";
    const name = table.caption ? table.caption.textContent.trim() : "table";
    const text = document.createElement("input");
    text.type = "search";
    text.placeholder = "any text";
    const labelled = (control, words) => {
      const wrap = document.createElement("label");
      wrap.append(words + " ", control);
      bar.append(wrap);
      control.setAttribute("aria-label", words + ", " + name);
    };
    labelled(text, "Filter");
    const choices = [];
    heads.forEach((head, column) => {
      if (head.dataset.filter === undefined) return;
      const select = document.createElement("select");
      const values = [...new Set(rows.map((row) => row.cells[column].textContent.trim()))];
      values.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
      select.add(new Option("all", ""));
      values.forEach((value) => select.add(new Option(value === "" ? "(empty)" : value, "=" + value)));
      labelled(select, head.textContent.trim());
      choices.push([column, select]);
    });
    const count = document.createElement("span");
    count.className = "count";
    count.setAttribute("role", "status");
    bar.append(count);
    const apply = () => {
      const wanted = text.value.trim().toLowerCase();
      let shown = 0;
      rows.forEach((row) => {
        const fits = (wanted === "" || row.textContent.toLowerCase().includes(wanted)) &&
          choices.every(([column, select]) =>
            select.value === "" || "=" + row.cells[column].textContent.trim() === select.value);
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      count.textContent = shown + " of " + rows.length + " rows";
    };
    bar.addEventListener("input", apply);
    const place = table.closest(".scroll") || table;
    place.before(bar);
    apply();
  };

  document.querySelectorAll("table.filterable").forEach(makeFilterable);
  document.querySelectorAll("table.sortable").forEach(makeSortable);
})();
