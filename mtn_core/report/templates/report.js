(() => {
  // A press on a query's name shows its rank list, for every run of the report.
  const holder = document.getElementById("lists");
  const panel = document.getElementById("explorer");
  if (!holder || !panel) return;
  const data = JSON.parse(holder.textContent);
  const verdicts = [["right", "✓"], ["wrong", "✗"], ["ignored", "–"]];
  const words = { right: "right", wrong: "wrong", ignored: "ignored: same vehicle, same camera", query: "query" };

  const make = (tag, classes, text) => {
    const element = document.createElement(tag);
    if (classes) element.className = classes;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const makeHit = (verdict, sign, thumb, name, alt, lines) => {
    const item = make("li", "hit " + verdict);
    const frame = make("span", "frame");
    const picture = thumb ? make("span", "thumb " + thumb) : make("span", "thumb named", name);
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", alt);
    const mark = make("span", "sign", sign);
    mark.setAttribute("aria-hidden", "true");
    frame.append(picture, mark);
    item.append(frame, ...lines.map((line) => make("span", "line", line)));
    return item;
  };
  const makeList = (list, run, queryThumb) => {
    const block = make("div", "rank");
    const heading = make("h4", "", (data.runs.length > 1 ? run + ": " : "") + list.name + " ");
    const score = list.ap === null ? "no average precision" : "AP " + (100 * list.ap).toFixed(1) + " %";
    const hidden = list.hidden ? "; " + list.hidden + " more ignored images not shown" : "";
    heading.append(make("span", "", score + ", " + list.about + hidden));
    const row = make("ol");
    row.tabIndex = 0;
    row.setAttribute("aria-label", "Rank list of " + list.name);
    const camera = (camid) => (camid ? ["camera " + camid] : []);
    row.append(makeHit("query", "?", queryThumb, list.name, ["query: vehicle " + list.pid, ...camera(list.camid)].join(", "),
      ["query", "id " + list.pid, ...camera(list.camid)]));
    list.hits.forEach(([key, distance, code, rank], index) => {
      if (list.gap && index === list.hits.length - 1) row.append(make("li", "hit gap", "…"));
      const [name, pid, camid, thumb] = data.gallery[key];
      const [verdict, sign] = verdicts[code];
      row.append(makeHit(verdict, sign, thumb, name,
        [rank ? "rank " + rank : "no rank", words[verdict] + ": vehicle " + pid, ...camera(camid), "distance " + distance].join(", "),
        [(rank ? "#" + rank : "–") + " · " + distance.toFixed(2), "id " + pid, ...camera(camid)]));
    });
    block.append(heading, row);
    return block;
  };

  let chosen = null;
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".row-button");
    if (!button) return;
    const lists = data.lists[button.dataset.query];
    if (!lists) return;
    if (chosen) chosen.classList.remove("chosen");
    chosen = button.closest("tr");
    if (chosen) chosen.classList.add("chosen");
    const close = make("button", "button", "Close");
    close.type = "button";
    close.addEventListener("click", () => { panel.hidden = true; button.focus(); });
    panel.replaceChildren(close, ...lists.map((list, index) => makeList(list, data.runs[index], lists[0].thumb)));
    panel.hidden = false;
    panel.scrollIntoView({ block: "nearest" });
  });
})();
